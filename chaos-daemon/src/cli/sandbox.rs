//! A network namespace of our own for what tries faults out: nothing of the host's network is in it.

use anyhow::Context;
use nix::sched::{CloneFlags, unshare};
use tokio::runtime::Runtime;

use super::{Failure, foreground::runtime};

/// Moves this process into a new network namespace with its loopback up. Must come before any other thread exists: those
/// would stay behind.
pub fn enter() -> Result<Runtime, Failure> {
    unshare(CloneFlags::CLONE_NEWNET)
        .map_err(|e| Failure::Host(format!("cannot make a network namespace (needs CAP_SYS_ADMIN): {e}")))?;
    let runtime = runtime()?;
    runtime.block_on(raise_loopback()).context("raising the loopback device")?;
    Ok(runtime)
}

async fn raise_loopback() -> anyhow::Result<()> {
    const LOOPBACK: u32 = 1;
    let (connection, handle, _messages) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    handle.link().set(rtnetlink::LinkUnspec::new_with_index(LOOPBACK).up().build()).execute().await?;
    Ok(())
}
