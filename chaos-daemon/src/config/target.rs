//! `[target]`: exactly one selector, and what goes with it.
//!
//! Everything here is as written; [`crate::target`] looks it up. What must stay true: a target that selects nothing, or
//! that might be read in two ways, is an error.

use std::{collections::BTreeMap, ops::Range};

use toml::Spanned;

use super::{
    Problem, Section,
    selector::{Pods, Selector},
    too_wide,
    value::Pick,
};

/// Whose packets and calls.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetSpec {
    /// Who is named.
    pub selector: Selector,
    /// How many of them; `None` is not said.
    pub pick: Option<Pick>,
    /// Whether those that appear later are hit, too.
    pub follow: bool,
    /// The container runtime's socket; `None`: all that are known.
    pub runtime: Option<Spanned<String>>,
}

const HELP: &str = "say whose packets and calls: cgroup = \"/system.slice/checkout.service\", \
                    unit = \"checkout.service\", container = \"web\", pod = \"shop/checkout-*\", pid = 812, \
                    command = [\"program\", \"argument\"], netns = \"blue\", or host = true";

/// What comes back under its name.
const SEVERAL: &str = "cgroup, unit, container and pod";

/// What can be picked from.
const CHOICES: &str = "patterns of cgroup and unit (`*` names several), container and pod";

/// Whether a name stands for several.
pub fn has_wildcards(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// Reads `[target]`.
pub fn read(file: &mut Section<'_>) -> Result<Spanned<TargetSpec>, Problem> {
    let Some(mut table) = file.table("target")? else {
        return Err(Problem::at(file.span(), "the experiment has no [target]", "no target").help(HELP));
    };
    let title = table.span();
    let mut found = named(&mut table)?;
    found.extend(pod(&mut table)?);
    found.extend(pid(&mut table)?);
    found.extend(command(&mut table)?);
    found.extend(host(&mut table)?);
    let pick = table.get::<Pick>("pick")?;
    let follow = table.get::<bool>("follow")?;
    let runtime = table.get::<String>("runtime")?;
    table.finish()?;
    let selector = only(found, title)?;
    let several = matches!(
        selector.get_ref(),
        Selector::Cgroup(_) | Selector::Unit(_) | Selector::Container(_) | Selector::Pod(_)
    );
    // A path below /proc is that of a process, whose number somebody else may have later.
    let comes_back =
        several || matches!(selector.get_ref(), Selector::NetNs(name) if !name.starts_with("/proc/"));
    let choices = several && has_choice(selector.get_ref(), pick.as_ref().map(Spanned::get_ref));
    let extras = [
        ("pick", pick.as_ref().map(Spanned::span), choices, CHOICES.to_owned()),
        ("follow", follow.as_ref().map(Spanned::span), comes_back, format!("{SEVERAL}, and netns")),
    ];
    for (key, span, means_something, goes_with) in extras {
        if let Some(span) = span.filter(|_| !means_something) {
            return Err(Problem::at(
                span,
                format!("`{key}` means nothing for this selector"),
                "there is only one",
            )
            .help(format!("it goes with {goes_with}")));
        }
    }
    if let Some(socket) = &runtime {
        check_runtime(socket, selector.get_ref())?;
    }
    Ok(Spanned::new(
        selector.span(),
        TargetSpec {
            selector: selector.into_inner(),
            pick: pick.map(Spanned::into_inner),
            follow: comes_back && follow.is_none_or(Spanned::into_inner),
            runtime,
        },
    ))
}

/// Whether there may be several to pick from. A cgroup named in full is one, whatever stands below it.
fn has_choice(selector: &Selector, pick: Option<&Pick>) -> bool {
    match selector {
        Selector::Cgroup(name) | Selector::Unit(name) => has_wildcards(name) || pick == Some(&Pick::All),
        _ => true,
    }
}

/// A socket that somebody can be asked at, for a selector that asks.
fn check_runtime(socket: &Spanned<String>, selector: &Selector) -> Result<(), Problem> {
    let wrong = |message, label, help: &str| Err(Problem::at(socket.span(), message, label).help(help));
    if !matches!(selector, Selector::Container(_) | Selector::Pod(_)) {
        return wrong(
            "no container runtime is asked for this selector",
            "here",
            "`runtime` goes with container and pod",
        );
    }
    if !socket.get_ref().starts_with('/') {
        let help = "write runtime = \"/run/containerd/containerd.sock\"";
        return wrong("`runtime` is the path of a socket", "no path", help);
    }
    Ok(())
}

fn only(found: Vec<Spanned<Selector>>, title: Range<usize>) -> Result<Spanned<Selector>, Problem> {
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => {
            Err(Problem::at(title, "the target has no selector", "nothing is selected here").help(HELP))
        }
        (Some(_), Some(second)) => {
            Err(Problem::at(second.span(), "the target has two selectors", "a second selector").help(
                "keep exactly one; one container of a pod is pod = { name = \"...\", container = \"...\" }",
            ))
        }
    }
}

/// The selectors that are one text.
fn named(table: &mut Section<'_>) -> Result<Vec<Spanned<Selector>>, Problem> {
    let mut found = Vec::new();
    for key in ["cgroup", "unit", "container", "netns"] {
        let Some(name) = table.get::<String>(key)? else { continue };
        let span = name.span();
        let name = pattern(key, name)?;
        if key == "cgroup" && name.split('/').any(|part| part == "..") {
            return Err(Problem::at(span, "the path of a cgroup goes down only", "leads up again")
                .help("write the path from the root of the hierarchy, without .."));
        }
        if key == "unit" && name.contains('/') {
            return Err(Problem::at(span, "the name of a unit has no slashes", "a path")
                .help("write unit = \"checkout.service\", or cgroup = \"/path\" for a path"));
        }
        let too_wide = match key {
            "cgroup" => too_wide::is_every_cgroup(&name),
            "unit" => too_wide::is_every_unit(&name),
            _ => false,
        };
        if too_wide {
            return Err(too_wide::whole_host(span, &format!("the {key} {name:?}")));
        }
        let selector = match key {
            "cgroup" => Selector::Cgroup(name),
            "unit" => Selector::Unit(name),
            "container" => Selector::Container(name),
            _ => Selector::NetNs(name),
        };
        found.push(Spanned::new(span, selector));
    }
    Ok(found)
}

/// A text that names something, with `*` and `?` where several can be meant.
fn pattern(key: &str, text: Spanned<String>) -> Result<String, Problem> {
    let span = text.span();
    let text = text.into_inner();
    if text.trim().is_empty() {
        return Err(Problem::at(span, format!("`{key}` names nothing"), "empty").help(HELP));
    }
    match glob::Pattern::new(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Problem::at(span, format!("`{key}`: {}", error.msg), "not a pattern")
            .help("* stands for any text, ? for one character, [ab] for one of these")),
    }
}

/// `pod = "namespace/name"`, or a table.
fn pod(table: &mut Section<'_>) -> Result<Option<Spanned<Selector>>, Problem> {
    if !table.is_table("pod") {
        let Some(text) = table.get::<String>("pod")? else { return Ok(None) };
        let span = text.span();
        let text = pattern("pod", text)?;
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name.to_owned()),
            None => (None, text),
        };
        if name.is_empty() || name.contains('/') || namespace.as_deref() == Some("") {
            return Err(Problem::at(span, "not the name of a pod", "here")
                .help("write pod = \"namespace/name\", or pod = { namespace = \"...\", labels = { app = \"...\" } }"));
        }
        return Ok(Some(Spanned::new(
            span,
            Selector::Pod(Pods { namespace, name: Some(name), ..Pods::default() }),
        )));
    }
    let Some(mut pod) = table.table("pod")? else { return Ok(None) };
    let span = pod.span();
    let mut text = |key| pod.get::<String>(key)?.map(|text| pattern(key, text)).transpose();
    let (namespace, name, container) = (text("namespace")?, text("name")?, text("container")?);
    let labels = pod.get::<BTreeMap<String, String>>("labels")?.map(Spanned::into_inner).unwrap_or_default();
    pod.finish()?;
    if name.is_none() && labels.is_empty() {
        return Err(Problem::at(span, "`pod` would be every pod of the namespace", "too wide")
            .help("give a name or labels; to mean all of them, write name = \"*\""));
    }
    Ok(Some(Spanned::new(span, Selector::Pod(Pods { namespace, name, labels, container }))))
}

fn pid(table: &mut Section<'_>) -> Result<Option<Spanned<Selector>>, Problem> {
    let Some(pid) = table.get::<i64>("pid")? else { return Ok(None) };
    match i32::try_from(*pid.get_ref()) {
        Ok(number) if number > 0 => Ok(Some(Spanned::new(pid.span(), Selector::Pid(number)))),
        _ => Err(Problem::at(pid.span(), format!("{} is no process", pid.get_ref()), "not a process id")
            .help("a process id is a number of at least 1")),
    }
}

fn host(table: &mut Section<'_>) -> Result<Option<Spanned<Selector>>, Problem> {
    let Some(host) = table.get::<bool>("host")? else { return Ok(None) };
    if !host.get_ref() {
        return Err(Problem::at(host.span(), "`host = false` selects nothing", "not a selector").help(HELP));
    }
    Ok(Some(Spanned::new(host.span(), Selector::Host)))
}

/// A list is a program and its arguments; a single text is a line for the shell.
fn command(table: &mut Section<'_>) -> Result<Option<Spanned<Selector>>, Problem> {
    let for_shell = !table.is_list("command");
    let Some(words) = table.list::<String>("command")? else { return Ok(None) };
    let start = words.first().map_or(0, |w| w.span().start);
    let end = words.last().map_or(0, |w| w.span().end);
    let mut words: Vec<String> = words.into_iter().map(Spanned::into_inner).collect();
    if words[0].trim().is_empty() {
        return Err(Problem::at(start..end, "`command` names no program", "empty")
            .help("write command = [\"program\", \"argument\", ...]"));
    }
    if for_shell && words[0].contains(char::is_whitespace) {
        words = vec!["/bin/sh".into(), "-c".into(), words.remove(0)];
    }
    Ok(Some(Spanned::new(start..end, Selector::Command(words))))
}
