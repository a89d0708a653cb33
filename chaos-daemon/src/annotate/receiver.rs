//! Requests to somebody who is told: a body of bytes, the token, a limit of time.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    time::Duration,
};

use reqwest::{
    Client, Method, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};

use super::{AnnotateError, spec::ReceiverSpec};
use crate::measure::{self, MeasureError};

/// One request may take this long.
const LIMIT: Duration = Duration::from_secs(2);

/// As much of a refusal is shown.
const SHOWN: usize = 200;

/// Where something is told.
pub struct Receiver {
    client: Client,
    url: Url,
    authorization: Option<HeaderValue>,
}

impl Receiver {
    pub fn new(spec: &ReceiverSpec) -> Result<Self, AnnotateError> {
        Ok(Self {
            client: measure::client(&spec.url).map_err(AnnotateError::Client)?,
            url: spec.url.clone(),
            authorization: spec
                .token_file
                .as_ref()
                .map(|path| token(&path.display().to_string()))
                .transpose()?,
        })
    }

    /// Sends a body to the path of these segments below the URL, and reads the answer.
    pub async fn send(
        &self,
        method: Method,
        path: &[&str],
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, MeasureError> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request =
            self.client.request(method, url.clone()).header(CONTENT_TYPE, content_type).body(body);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let answer = async {
            let response = request.send().await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, measure::body(response).await?.0))
        };
        let failed = |why: String| MeasureError::Failed(format!("{}: {why}", measure::shown(&url)));
        let (status, body) = tokio::time::timeout(LIMIT, answer)
            .await
            .map_err(|_| failed(MeasureError::TimedOut(LIMIT).to_string()))?
            .map_err(|error| failed(measure::chain(&error.without_url())))?;
        if status.is_success() {
            return Ok(body);
        }
        let said: String = String::from_utf8_lossy(&body).chars().take(SHOWN).collect();
        Err(failed(format!("{status} {}", crate::printable::printable(said.trim()))))
    }
}

/// A short file, and nothing that could be waited for.
fn read(path: &str) -> io::Result<String> {
    const MOST: u64 = 4096;
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

fn token(path: &str) -> Result<HeaderValue, AnnotateError> {
    let none = |why| AnnotateError::NoToken { path: path.to_owned(), why };
    let text = read(path).map_err(|error| AnnotateError::Token { path: path.to_owned(), error })?;
    let text = text.trim();
    if text.is_empty() {
        return Err(none("it is empty"));
    }
    let mut value = HeaderValue::try_from(format!("Bearer {text}"))
        .map_err(|_| none("it has characters that no header can hold"))?;
    value.set_sensitive(true);
    Ok(value)
}
