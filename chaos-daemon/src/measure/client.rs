//! A client of HTTP that goes where the URL says and nowhere else: no proxies of the environment, no redirects, and a new
//! connection for every request, as it is new connections that show whether users still come through.

use std::sync::Arc;

use reqwest::{Client, ClientBuilder, Response, Url, redirect::Policy};
use toml::Spanned;

use super::{MeasureError, error::chain, names::Resolver};
use crate::config::Problem;

/// As much of an answer is read.
pub const LONGEST_BODY: usize = 1 << 20;

/// Makes one for requests to `url`. For `https` the host's certificate authorities are read.
pub fn of(url: &Url) -> Result<Client, MeasureError> {
    made(url, Client::builder().pool_max_idle_per_host(0))
}

/// One that keeps its connections and uses them again, as services do among each other.
pub fn keeping(url: &Url) -> Result<Client, MeasureError> {
    made(url, Client::builder())
}

fn made(url: &Url, builder: ClientBuilder) -> Result<Client, MeasureError> {
    // Answers with an error if there is one already, which is as good.
    let _there_already = rustls::crypto::ring::default_provider().install_default();
    let builder = builder
        .no_proxy()
        .redirect(Policy::none())
        .dns_resolver(Arc::new(Resolver))
        .user_agent(concat!("kchaos/", env!("CARGO_PKG_VERSION")));
    // A host without authorities can do plain HTTP all the same.
    let builder = if url.scheme() == "https" { builder } else { builder.tls_certs_only([]) };
    builder.build().map_err(|error| {
        MeasureError::Unsupported(format!("cannot ask {}: {}", shown(url), chain(&error.without_url())))
    })
}

/// Reads a URL of the file.
pub fn url(text: &Spanned<String>) -> Result<Url, Problem> {
    const HELP: &str = "write it whole: \"http://127.0.0.1:9090\"";
    let wrong = |message: String| Problem::at(text.span(), message, "not a URL of HTTP").help(HELP);
    let url = Url::parse(text.get_ref()).map_err(|e| wrong(format!("\"{}\": {e}", text.get_ref())))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        other => Err(wrong(format!("\"{other}\" is neither http nor https"))),
    }
}

/// A URL without the password that may stand in it.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Fails for URLs without a host only, which have no password either.
    let _no_host = url.set_password(None);
    url.to_string()
}

/// Reads the body of an answer, at most [`LONGEST_BODY`] of it, and says whether that was all.
pub async fn body(mut response: Response) -> Result<(Vec<u8>, bool), reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = LONGEST_BODY - body.len();
        if chunk.len() > room {
            body.extend_from_slice(&chunk[..room]);
            return Ok((body, false));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, true))
}
