//! What listens at a socket of which only the path is known: found out by asking, as paths say nothing for sure.

use std::{path::Path, pin::pin};

use super::{Failure, containerd, cri, docker, grpc::Grpc, http::Http, source::Kind};

/// Asks in both languages at once, as a server may never answer to what it does not understand.
pub(super) async fn kind(socket: &Path) -> Result<Kind, Failure> {
    let (mut grpc, mut http) = (Grpc::new(socket.into()), Http::new(socket.into()));
    let mut by_grpc = pin!(speaks_grpc(&mut grpc));
    let mut by_http = pin!(docker::name(&mut http));
    let (no_grpc, no_http) = tokio::select! {
        answer = &mut by_grpc => match answer {
            Ok(kind) => return Ok(kind),
            Err(no_grpc) => match by_http.await {
                Ok(name) => return Ok(Kind::Docker(name)),
                Err(no_http) => (no_grpc, no_http),
            },
        },
        answer = &mut by_http => match answer {
            Ok(name) => return Ok(Kind::Docker(name)),
            Err(no_http) => match by_grpc.await {
                Ok(kind) => return Ok(kind),
                Err(no_grpc) => (no_grpc, no_http),
            },
        },
    };
    Err(Failure::Connection(format!("it speaks neither gRPC ({no_grpc}) nor Docker's HTTP ({no_http})")))
}

/// Of containerd and CRI-O, and of containerd also where its part for Kubernetes is switched off.
async fn speaks_grpc(grpc: &mut Grpc) -> Result<Kind, Failure> {
    match cri::name(grpc).await {
        Ok(name) => Ok(match name.as_str() {
            "containerd" => Kind::Containerd,
            "cri-o" => Kind::Cri("cri-o"),
            "docker" => Kind::Cri("docker"),
            _ => Kind::Cri("cri"),
        }),
        Err(Failure::Unimplemented(_)) => containerd::is_there(grpc).await.map(|()| Kind::Containerd),
        Err(other) => Err(other),
    }
}
