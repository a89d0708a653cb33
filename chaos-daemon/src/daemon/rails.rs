//! Guard rails of the host's owner, `[rails]` in the daemon's settings: what no experiment may do here, whatever its
//! file says. (What an experiment runs against by hand, with `kchaos run`, is up to who has root already.)
//!
//! What must stay true: they are looked at before anything is applied, and again for the target once it is known.

use std::{ops::Range, time::Duration};

use glob::Pattern;
use ipnet::IpNet;
use toml::Spanned;

use super::settings::{count, span};
use crate::{
    config::{
        Experiment, MAX_DURATION, Problem, Section, Selector,
        value::{Host, Peer, Share, Span, Window},
        windows,
    },
    engine::asked_share,
    fault,
    guard::forbidden::Forbidden,
};

/// How many experiments may run at a time unless the owner says otherwise.
const EXPERIMENTS: usize = 16;

/// What experiments may do here.
#[derive(Debug)]
pub struct Rails {
    /// Kinds of faults; `None`: all.
    pub kinds: Option<Vec<String>>,
    /// The largest share that may be hit, 0 to 1.
    pub probability: f64,
    /// The longest time box.
    pub duration: Duration,
    /// How many may run at a time.
    pub experiments: usize,
    /// Cgroups that may not be hit, nor what lies below them: paths below the root of the hierarchy.
    pub forbidden_targets: Forbidden,
    /// Far ends that are left alone, by all experiments.
    pub forbidden_peers: Vec<IpNet>,
    /// When nothing may run.
    pub forbidden_windows: Vec<Window>,
    /// Whether an experiment may hit what is protected.
    pub allow_protected: bool,
    /// Whether an experiment may run commands, for its stop conditions.
    pub allow_commands: bool,
}

impl Default for Rails {
    fn default() -> Self {
        Self {
            kinds: None,
            probability: 1.0,
            duration: MAX_DURATION,
            experiments: EXPERIMENTS,
            forbidden_targets: Forbidden::default(),
            forbidden_peers: Vec::new(),
            forbidden_windows: Vec::new(),
            allow_protected: false,
            allow_commands: true,
        }
    }
}

impl Rails {
    /// Reads `[rails]`.
    pub(super) fn read(file: &mut Section<'_>) -> Result<Self, Problem> {
        let Some(mut table) = file.table("rails")? else { return Ok(Self::default()) };
        let default = Self::default();
        let forbidden_peers = peers(&mut table)?;
        let allow_protected = table.get::<bool>("allow_protected")?;
        if let (Some(allowed), false) =
            (allow_protected.as_ref().filter(|a| *a.get_ref()), forbidden_peers.is_empty())
        {
            return Err(Problem::at(
                allowed.span(),
                "`allow_protected` and `forbidden_peers` contradict each other",
                "this would lift them",
            )
            .help("forbidden far ends are protected ones: leave out one of the two"));
        }
        let rails = Self {
            kinds: kinds(&mut table)?,
            probability: table.get::<Share>("probability")?.map_or(1.0, |share| share.get_ref().fraction()),
            duration: duration(&mut table)?.unwrap_or(default.duration),
            experiments: count(&mut table, "experiments")?.unwrap_or(default.experiments),
            forbidden_targets: targets(&mut table)?,
            forbidden_peers,
            forbidden_windows: windows(&mut table, "forbidden_windows")?,
            allow_protected: allow_protected.is_some_and(Spanned::into_inner),
            allow_commands: table.get::<bool>("allow_commands")?.is_none_or(Spanned::into_inner),
        };
        table.finish()?;
        Ok(rails)
    }

    /// Refuses an experiment that wants more than is allowed, as far as its file tells.
    pub fn check(&self, experiment: &Experiment) -> Result<(), Problem> {
        let target = experiment.target.span();
        let refuse = |place: &Range<usize>, message: String| {
            Err(Problem::at(place.clone(), message, "not allowed on this host")
                .help("this host's owner has said so, in the settings of its daemon"))
        };
        if experiment.allow_protected && !self.allow_protected {
            let place = experiment.allow_protected_place.as_ref().unwrap_or(&target);
            return refuse(place, "no experiment may set `allow_protected` here".to_owned());
        }
        if experiment.duration > self.duration {
            let message = format!(
                "the time box of {} is longer than the {} that are allowed here",
                Span(experiment.duration),
                Span(self.duration)
            );
            return refuse(&experiment.duration_place, message);
        }
        if matches!(experiment.target.get_ref().selector, Selector::Command(_)) {
            return Err(Problem::at(target, "the daemon starts no command as a target", "a command")
                .help("run it in a terminal: kchaos run FILE"));
        }
        let stops = experiment.stops.iter().map(|stop| (&stop.source, &stop.span));
        let mut looks = stops.chain(experiment.probes.iter().map(|probe| (&probe.source, &probe.span)));
        if let (false, Some((_, span))) = (self.allow_commands, looks.find(|(source, _)| source.is_command()))
        {
            return refuse(span, "no experiment may run commands here".to_owned());
        }
        for fault in &experiment.faults {
            let kind = fault.fault.kind();
            if self.kinds.as_ref().is_some_and(|kinds| !kinds.iter().any(|allowed| allowed == kind)) {
                let message = format!("faults of kind {kind} are not allowed here (fault {})", fault.name);
                return refuse(&fault.place, message);
            }
            let share = asked_share(fault);
            // What is asked for is stored in 32 bits: 10 % comes out as a little more.
            if share > self.probability + 1e-6 {
                let message = format!(
                    "fault {} hits {} % of what it matches; at most {} % are allowed here",
                    fault.name,
                    share * 100.0,
                    self.probability * 100.0
                );
                return refuse(&fault.place, message);
            }
        }
        Ok(())
    }
}

fn kinds(table: &mut Section<'_>) -> Result<Option<Vec<String>>, Problem> {
    let Some(kinds) = table.list::<String>("kinds")? else { return Ok(None) };
    let known = |name: &str| fault::KINDS.iter().any(|kind| kind.name() == name);
    if let Some(unknown) = kinds.iter().find(|kind| !known(kind.get_ref())) {
        let names: Vec<&str> = fault::KINDS.iter().map(|kind| kind.name()).collect();
        let message = format!("unknown kind of fault \"{}\"", unknown.get_ref());
        return Err(Problem::at(unknown.span(), message, "not a kind of fault")
            .help(format!("this version knows: {}", names.join(", "))));
    }
    Ok(Some(kinds.into_iter().map(Spanned::into_inner).collect()))
}

fn duration(table: &mut Section<'_>) -> Result<Option<Duration>, Problem> {
    let Some(duration) = span(table, "duration")? else { return Ok(None) };
    if *duration.get_ref() > MAX_DURATION {
        let message = format!("`duration` is longer than the {} that kchaos allows", Span(MAX_DURATION));
        return Err(Problem::at(duration.span(), message, "too long").help("write less, such as \"10m\""));
    }
    Ok(Some(duration.into_inner()))
}

fn targets(table: &mut Section<'_>) -> Result<Forbidden, Problem> {
    let paths = table.list::<String>("forbidden_targets")?.unwrap_or_default();
    let read = |path: Spanned<String>| {
        let wrong = |message: String| {
            Problem::at(path.span(), message, "not a cgroup")
                .help("write the path below the root of the hierarchy, `*` for any name: \"/system.slice/postgresql*\"")
        };
        if !path.get_ref().starts_with('/') || path.get_ref().trim_matches('/').is_empty() {
            return Err(wrong("the path of a cgroup must begin with a slash and name one".to_owned()));
        }
        Pattern::new(path.get_ref()).map_err(|error| wrong(format!("\"{}\": {error}", path.get_ref())))
    };
    paths.into_iter().map(read).collect::<Result<_, _>>().map(Forbidden)
}

fn peers(table: &mut Section<'_>) -> Result<Vec<IpNet>, Problem> {
    let peers = table.list::<Peer>("forbidden_peers")?.unwrap_or_default();
    let read = |peer: Spanned<Peer>| match peer.get_ref() {
        Peer { host: Host::Net(net), ports: None } => Ok(*net),
        _ => Err(Problem::at(
            peer.span(),
            "a forbidden far end is an address or a network, with all its ports",
            "not one",
        )
        .help("write \"10.0.0.7\", \"10.0.0.0/8\" or \"2001:db8::/32\"")),
    };
    peers.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn experiment(head: &str, fault: &str) -> Experiment {
        let text = format!(
            "duration = \"60s\"\n{head}\n[target]\ncgroup = \"/shop\"\n[[fault]]\nkind = \"drop\"\n{fault}\n"
        );
        config::parse("x.toml", &text, "x").unwrap()
    }

    fn refusal(rails: &Rails, head: &str, fault: &str) -> String {
        rails.check(&experiment(head, fault)).unwrap_err().message
    }

    #[test]
    fn what_is_not_forbidden_is_allowed() {
        Rails::default().check(&experiment("", "")).unwrap();
        let rails = Rails { probability: 0.1, ..Rails::default() };
        rails.check(&experiment("", "probability = \"10%\"")).unwrap();
        rails.check(&experiment("", "every = 10")).unwrap();
    }

    #[test]
    fn mistakes_are_shown_where_they_are() {
        let rails = Rails { kinds: Some(Vec::new()), duration: Duration::from_secs(1), ..Rails::default() };
        let shown = |rails: &Rails, head| {
            let experiment = experiment(head, "");
            let span = rails.check(&experiment).unwrap_err().span.unwrap();
            experiment.document()[span].to_owned()
        };
        assert_eq!("\"60s\"", shown(&rails, ""));
        assert_eq!("true", shown(&rails, "allow_protected = true"));
        assert_eq!("\"drop\"", shown(&Rails { duration: MAX_DURATION, ..rails }, ""));
    }

    #[test]
    fn no_experiment_can_lift_them() {
        let rails = Rails {
            kinds: Some(vec!["drop".to_owned()]),
            probability: 0.5,
            duration: Duration::from_mins(1),
            ..Rails::default()
        };
        assert!(refusal(&rails, "", "").contains("100 %"));
        assert!(refusal(&rails, "", "first = 3").contains("100 %"));
        assert!(refusal(&rails, "allow_protected = true", "every = 2").contains("allow_protected"));
        let long = Rails { duration: Duration::from_secs(59), ..Rails::default() };
        assert!(refusal(&long, "", "").contains("1m is longer than the 59s"));
        let commands = Rails { allow_commands: false, ..Rails::default() };
        let stop = "[[stop]]\nname = \"x\"\ncommand = [\"true\"]";
        assert!(refusal(&commands, "", stop).contains("commands"));
        let probe = "[[probe]]\nname = \"x\"\ncommand = [\"true\"]";
        assert!(refusal(&commands, "", probe).contains("commands"));
        for looks in [stop, probe] {
            Rails::default().check(&experiment("", looks)).unwrap();
        }
        let others = Rails { kinds: Some(vec!["delay".to_owned()]), ..Rails::default() };
        assert!(refusal(&others, "", "").contains("kind drop"));
    }
}
