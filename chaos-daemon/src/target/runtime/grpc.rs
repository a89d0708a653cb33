//! Unary gRPC calls over a unix socket, on a connection that is kept.

use std::{error::Error as _, path::PathBuf};

use prost::Message;
use tonic::{
    Code, Request, Status,
    codegen::http::uri::PathAndQuery,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::Failure;

/// The list of a big node is below a mebibyte.
const LONGEST_ANSWER: usize = 32 << 20;

/// A server behind a unix socket.
#[derive(Debug)]
pub struct Grpc {
    socket: PathBuf,
    channel: Option<Channel>,
}

impl Grpc {
    /// Connects when first used.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, channel: None }
    }

    /// Calls a method, "/package.Service/Method".
    pub async fn call<Q, A>(&mut self, method: &'static str, question: Q) -> Result<A, Failure>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.call_in(None, method, question).await
    }

    /// The same in a namespace of containerd.
    pub async fn call_in<Q, A>(
        &mut self,
        namespace: Option<&str>,
        method: &'static str,
        question: Q,
    ) -> Result<A, Failure>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let mut request = Request::new(question.clone());
        if let Some(namespace) = namespace {
            let value = MetadataValue::try_from(namespace).map_err(|e| Failure::Nonsense(e.to_string()))?;
            request.metadata_mut().insert("containerd-namespace", value);
        }
        let metadata = request.metadata().clone();
        let kept = self.channel.is_some();
        match self.once(method, request).await {
            // The server was restarted since.
            Err(Failure::Connection(_)) if kept => {
                self.channel = None;
                let mut again = Request::new(question);
                *again.metadata_mut() = metadata;
                self.once(method, again).await
            }
            answer => answer,
        }
    }

    async fn once<Q, A>(&mut self, method: &'static str, request: Request<Q>) -> Result<A, Failure>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let channel = self.channel().await?;
        let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(LONGEST_ANSWER);
        client.ready().await.map_err(|e| Failure::Connection(chain(&e)))?;
        let codec = ProstCodec::<Q, A>::default();
        match client.unary(request, PathAndQuery::from_static(method), codec).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(judge(&status)),
        }
    }

    async fn channel(&mut self) -> Result<Channel, Failure> {
        if let Some(channel) = &self.channel {
            return Ok(channel.clone());
        }
        let failed = |e: tonic::transport::Error| Failure::Connection(chain(&e));
        let endpoint = Endpoint::from_shared(format!("unix://{}", self.socket.display())).map_err(failed)?;
        let channel = endpoint.connect().await.map_err(failed)?;
        Ok(self.channel.insert(channel).clone())
    }
}

/// What a server says has no cause; what tonic says about the connection has.
fn judge(status: &Status) -> Failure {
    let said = || match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    };
    if let Some(cause) = status.source() {
        return Failure::Connection(chain(cause));
    }
    match status.code() {
        Code::Unimplemented => Failure::Unimplemented(said()),
        Code::Internal if status.message().starts_with("failed to decode") => Failure::Nonsense(said()),
        _ => Failure::Refused(said()),
    }
}

/// An error and its causes, each said once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !said.iter().any(|before| before.contains(&text)) {
            said.push(text);
        }
        next = error.source();
    }
    said.join(": ")
}
