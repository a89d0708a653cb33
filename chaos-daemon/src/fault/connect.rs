//! `connect`: connect(2), and UDP sends that name their address, fail with an errno of choice. Kernel side:
//! `chaos-ebpf/src/fault/connect.rs`.

use chaos_common::rule::{Rule, action, hook};
use toml::Spanned;

use super::{Fault, Field, Kind, Takes};
use crate::{
    bpf::{Feature, Need},
    config::{Packets, Problem, Section, value::Errno},
};

/// The kind.
pub struct Connect;

impl Kind for Connect {
    fn name(&self) -> &'static str {
        "connect"
    }

    fn about(&self) -> &'static str {
        "Make connect(2) and addressed UDP sends fail with an errno"
    }

    fn fields(&self) -> &'static [Field] {
        &[Field {
            name: "errno",
            value: "ERRNO",
            help: "How the call fails: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ...",
            takes: Takes::One,
        }]
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        let errno = section.need("errno", "\"ECONNREFUSED\"").map(Spanned::into_inner)?;
        Ok((Box::new(ConnectFault { errno }), Packets::default()))
    }

    fn demo(&self) -> (&'static str, &'static str) {
        (
            "probability = \"25%\"\nerrno = \"ECONNREFUSED\"",
            "a quarter of the new connections is refused at once",
        )
    }
}

#[derive(Debug)]
struct ConnectFault {
    errno: Errno,
}

impl Fault for ConnectFault {
    fn kind(&self) -> &'static str {
        Connect.name()
    }

    fn hooks(&self) -> u32 {
        hook::CONNECT
    }

    fn encode(&self, rule: &mut Rule) {
        rule.action = action::ERRNO;
        rule.errno = self.errno.number();
    }

    fn describe(&self) -> String {
        format!("fail connects with {}", self.errno)
    }

    fn needs(&self) -> &'static [Need] {
        // What a denied call answers on its own, without a helper function of newer kernels.
        if self.errno.number() == libc::EPERM.cast_unsigned() {
            return const { &[Feature::CgroupConnect.any_way()] };
        }
        const { &[Feature::CgroupConnect.in_full()] }
    }
}
