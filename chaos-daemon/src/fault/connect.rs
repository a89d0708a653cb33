//! `connect`: connect(2), and UDP sends that name their address, fail with an errno of choice, or go to another far end.
//! Kernel side: `chaos-ebpf/src/fault/connect.rs`.

use std::net::IpAddr;

use chaos_common::{
    redirect::{ADDRESS6, Part, V4, V6, words6},
    rule::{Rule, action, hook},
};
use toml::Spanned;

use super::{Fault, Field, Kind, Takes, packets::field};
use crate::{
    bpf::{Feature, Need},
    config::{
        Packets, Problem, Section,
        value::{Errno, Redirect},
    },
};

/// The kind.
pub struct Connect;

impl Kind for Connect {
    fn name(&self) -> &'static str {
        "connect"
    }

    fn elsewhere(&self) -> &'static [&'static str] {
        &["redirect"]
    }

    fn about(&self) -> &'static str {
        "Make connect(2) and addressed UDP sends fail with an errno, or go elsewhere"
    }

    fn fields(&self) -> &'static [Field] {
        const FIELDS: &[Field] = &[
            field("errno", "ERRNO", "How the call fails: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ..."),
            Field {
                name: "redirect",
                value: "ADDRESS:PORT",
                help: "Where the call goes instead: 10.0.0.9:5433, 10.0.0.9 (same port) or :5433 (same address)",
                takes: Takes::Several,
            },
        ];
        FIELDS
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        let both = section.place_of("errno").and(section.place_of("redirect"));
        if let Some(span) = both {
            return Err(Problem::at(span, "a call cannot both fail and go elsewhere", "beside `errno`")
                .help("leave out `errno` or `redirect`; for some of each write two faults"));
        }
        if let Some(redirects) = section.list("redirect")? {
            refuse_two_of_a_family(&redirects)?;
            return Ok((Box::new(RedirectFault { redirects }), Packets::default()));
        }
        if section.place_of("errno").is_none() {
            let misspelt = section.misspelt("errno").or_else(|| section.misspelt("redirect"));
            let message = format!("{} has neither `errno` nor `redirect`", section.title());
            return Err(misspelt.unwrap_or_else(|| {
                Problem::at(section.span(), message, "what is to become of the call?").help(
                    "add a line: errno = \"ECONNREFUSED\" to make it fail, or redirect = \"10.0.0.9:5433\" to send it \
                     elsewhere",
                )
            }));
        }
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
        hook::CONNECT | hook::SEND_TO
    }

    fn encode(&self, rule: &mut Rule) {
        rule.action = action::ERRNO;
        rule.errno = self.errno.number();
    }

    fn describe(&self) -> String {
        format!("fail connects with {}", self.errno)
    }

    fn needs(&self) -> &[Need] {
        // What a denied call answers on its own, without a helper function of newer kernels.
        if self.errno.number() == libc::EPERM.cast_unsigned() {
            return const { &[Feature::CgroupConnect.any_way()] };
        }
        const { &[Feature::CgroupConnect.in_full()] }
    }
}

/// A call keeps its family, so each family has one other far end.
fn refuse_two_of_a_family(redirects: &[Spanned<Redirect>]) -> Result<(), Problem> {
    let family = |redirect: &Spanned<Redirect>| redirect.get_ref().address.map(|address| address.is_ipv4());
    for (index, second) in redirects.iter().enumerate() {
        // A port alone is for both families.
        let meets = |first: &&Spanned<Redirect>| {
            family(first).is_none() || family(second).is_none() || family(first) == family(second)
        };
        if let Some(first) = redirects.iter().take(index).find(meets) {
            let message = format!("a call cannot go to {} and to {}", first.get_ref(), second.get_ref());
            return Err(Problem::at(second.span(), message, "the second one for the same calls")
                .help("name at most one address for IPv4 and one for IPv6, or a port alone"));
        }
    }
    Ok(())
}

#[derive(Debug)]
struct RedirectFault {
    /// At most one for each family, or one for both.
    redirects: Vec<Spanned<Redirect>>,
}

impl Fault for RedirectFault {
    fn kind(&self) -> &'static str {
        Connect.name()
    }

    fn hooks(&self) -> u32 {
        hook::CONNECT | hook::SEND_TO
    }

    fn encode(&self, rule: &mut Rule) {
        rule.action = action::REDIRECT;
        for Redirect { address, port } in self.redirects.iter().map(Spanned::get_ref) {
            let port = port.unwrap_or(0);
            match address {
                Some(IpAddr::V4(v4)) => rule.numbers[V4] = Part::v4(v4.octets(), port).0,
                Some(IpAddr::V6(v6)) => {
                    [rule.numbers[ADDRESS6[0]], rule.numbers[ADDRESS6[1]]] = words6(v6.octets());
                    rule.numbers[V6] = Part::v6(port).0;
                }
                None => {
                    rule.numbers[V4] = Part::same_address(port).0;
                    rule.numbers[V6] = rule.numbers[V4];
                }
            }
        }
    }

    fn describe(&self) -> String {
        let to = |redirect: &Spanned<Redirect>| match redirect.get_ref() {
            Redirect { address: None, port: Some(port) } => format!("port {port}"),
            other => other.to_string(),
        };
        format!("send connects to {}", self.redirects.iter().map(to).collect::<Vec<_>>().join(" or "))
    }

    /// The call goes on, so no errno is chosen.
    fn needs(&self) -> &[Need] {
        const { &[Feature::CgroupConnect.any_way()] }
    }

    fn redirects(&self) -> &[Spanned<Redirect>] {
        &self.redirects
    }
}
