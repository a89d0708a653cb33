//! Runs the suite in every place: on this machine alone, in guests two at a time.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    Column, Place, Report, servers,
    suite::Suite,
    watch::{Watch, text},
};
use crate::{
    sh,
    vm::{Accelerator, Audience as _, Choice, Job, LINES, Lab},
};

/// For all tests together; in a guest that is translated as well.
const LIMIT: Duration = Duration::from_mins(40);

/// The lines of kernels by how long the suite takes on them, so that none is alone at the end. Others come first.
const SHORTEST_LAST: [&str; 4] = ["6.12", "5.10", "7.2", "6.1"];

/// A guest has one CPU, and more than two at a time make no kernel's timing better.
const AT_ONCE: usize = 2;

/// Everything that the runs share.
pub struct Matrix {
    pub suite: Suite,
    places: Vec<Place>,
    modules: Option<PathBuf>,
    /// Where guests can be made, if there are any.
    lab: Option<Lab>,
    logs: PathBuf,
    /// For all that is run in one place.
    limit: Duration,
    /// Whether the guests share the tests for which one of them is enough.
    shared: Option<Shared>,
}

/// How guests share the tests for which one kernel besides this machine's is enough.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// Each test falls to one of them.
    Always,
    /// The same, but where guests are translated they leave to this machine what it can run.
    UnlessTranslated,
}

/// The words of a command, for a place.
pub type CommandIn<'a> = &'a (dyn Fn(&Place) -> Vec<String> + Sync);

impl Matrix {
    /// Builds what is run.
    pub fn new(places: &[Place], modules: Option<&Path>) -> Result<Self> {
        let guests = places.iter().any(|place| *place != Place::Host);
        let logs = sh::target_dir()?.join("vm/logs");
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        Ok(Self {
            lab: guests.then(Lab::new).transpose()?,
            suite: Suite::build()?,
            places: places.to_vec(),
            modules: modules.map(Path::to_path_buf),
            logs,
            limit: LIMIT,
            shared: None,
        })
    }

    /// The same with guests that share tests. They do so as if each of [`LINES`] was there: what a guest runs does not
    /// depend on who runs beside it.
    #[must_use]
    pub fn sharing(mut self, shared: Shared) -> Self {
        self.shared = Some(shared);
        self
    }

    /// The same with more time in every place.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the suite in some of the places.
    pub fn run_suite(&self, wanted: fn(&Place) -> bool, arguments: &[String]) -> Result<Vec<Column>> {
        let places: Vec<&Place> = self.places.iter().filter(|place| wanted(place)).collect();
        let suite = |place: &Place| match place {
            Place::Host => self.suite.tests.display().to_string(),
            Place::Guest(_) => "kchaos-suite".to_owned(),
        };
        self.run_in(&places, "", &|place| {
            std::iter::once(suite(place)).chain(arguments.iter().cloned()).collect()
        })
    }

    /// Runs a command that is not the whole suite in every place; the logs have this in their names.
    pub fn run(&self, what: &str, command: CommandIn) -> Result<Vec<Column>> {
        self.run_in(&self.places.iter().collect::<Vec<_>>(), what, command)
    }

    /// Guests beside each other; this machine before them, as its tests measure times.
    fn run_in(&self, places: &[&Place], what: &str, command: CommandIn) -> Result<Vec<Column>> {
        let one = |place: &Place| {
            let words = command(place);
            self.column(place, what, |column, watch| match place {
                Place::Host => self.on_host(&words, column, watch),
                Place::Guest(choice) => self.in_guest(choice, &words, column, watch),
            })
        };
        let (hosts, guests): (Vec<&Place>, Vec<&Place>) =
            places.iter().copied().partition(|place| **place == Place::Host);
        let mut columns: Vec<_> = hosts.into_iter().map(one).collect();
        let mut guests: Vec<(usize, &Place)> = guests.into_iter().enumerate().collect();
        guests.sort_by_key(|(_, place)| SHORTEST_LAST.iter().position(|line| *line == place.name()));
        let todo = Mutex::new(guests.into_iter());
        let done = Mutex::new(Vec::new());
        let next = || todo.lock().unwrap_or_else(PoisonError::into_inner).next();
        thread::scope(|scope| {
            let at_once = thread::available_parallelism().map_or(1, |cpus| cpus.get().min(AT_ONCE));
            for _ in 0..at_once {
                scope.spawn(|| {
                    while let Some((index, place)) = next() {
                        let column = one(place);
                        done.lock().unwrap_or_else(PoisonError::into_inner).push((index, column));
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(index, _)| *index);
        columns.extend(done.into_iter().map(|(_, column)| column));
        columns.into_iter().collect()
    }

    /// One run, from the opening of its log to the reading of its report.
    fn column(
        &self,
        place: &Place,
        what: &str,
        run: impl FnOnce(&mut Column, &mut Watch) -> Result<()>,
    ) -> Result<Column> {
        let name = place.name();
        let file = |kind: &str| {
            let parts: Vec<&str> =
                [name.as_str(), what, kind].into_iter().filter(|part| !part.is_empty()).collect();
            self.logs.join(parts.join("."))
        };
        let (log, report_file) = (file("log"), file("report.jsonl"));
        // What an earlier run reported must not be taken for this one's.
        let _ = fs::remove_file(&report_file);
        let opened = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut watch = Watch::new(&name, opened, &report_file);
        let mut column = Column {
            name,
            place: place.clone(),
            boot: None,
            seconds: Duration::ZERO,
            report: Report::default(),
            died: None,
            code: None,
            log,
            report_file,
        };
        let started = Instant::now();
        if let Err(error) = run(&mut column, &mut watch) {
            column.died = Some(format!("{error:#}"));
        }
        column.seconds = started.elapsed();
        column.boot = watch.boot;
        column.report = Report::parse(&text(&column.report_file));
        if what.is_empty() {
            watch.say_the_end(&column);
        }
        Ok(column)
    }

    fn on_host(&self, words: &[String], column: &mut Column, watch: &mut Watch) -> Result<()> {
        // Through env, as sudo does not hand variables on.
        let mut command = sh::as_root("env").context("the tests need root, and there is no sudo")?;
        command
            .args(self.suite.environment(None))
            .arg("KCHAOS_SLOW=1")
            .arg(format!("KCHAOS_REPORT={}", column.report_file.display()))
            .args(words)
            .stdin(Stdio::null())
            .stdout(watch.log.try_clone()?)
            .stderr(watch.log.try_clone()?);
        let mut child = sh::dies_with_us(&mut command).spawn().context("cannot start the suite")?;
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if started.elapsed() > self.limit {
                child.kill()?;
                child.wait()?;
                bail!("the suite was still running after {} s and was ended", self.limit.as_secs());
            }
            watch.glance();
            thread::sleep(Duration::from_millis(100));
        };
        match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(code) => column.code = Some(code),
            None => bail!("the suite was ended by a signal ({status})"),
        }
        Ok(())
    }

    fn in_guest(
        &self,
        choice: &Choice,
        words: &[String],
        column: &mut Column,
        watch: &mut Watch,
    ) -> Result<()> {
        let lab = self.lab.as_ref().context("there are no guests in this run")?;
        let kernel = lab.kernel(choice, self.modules.as_deref())?;
        let mut environment = self.suite.environment(Some(Path::new("/bin")));
        let mut files = Vec::new();
        if let Some(shared) = self.shared {
            environment.push(format!("KCHAOS_SPREAD={}", LINES.map(|(line, _)| line).join(",")));
            let translated = lab.accelerator(&kernel)? == Accelerator::Tcg;
            if translated && shared == Shared::UnlessTranslated && self.places.contains(&Place::Host) {
                environment.push(format!("KCHAOS_LEFT_TO={}", own_line()?));
            }
        }
        if servers::are_in(choice) {
            environment.push(servers::VARIABLE.to_owned());
            files = servers::files();
        }
        let job = Job {
            command: words,
            environment: &environment,
            programs: &self.suite.programs(),
            files: &files,
            limit: self.limit,
            report: Some(&column.report_file),
            terminal: None,
            counted: false,
        };
        let run = lab.run(&kernel, &job, watch)?;
        column.code = Some(run.code);
        Ok(())
    }
}

/// The line of this machine's kernel: "6.18".
fn own_line() -> Result<String> {
    let file = "/proc/sys/kernel/osrelease";
    let release = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    Ok(release.trim().split('.').take(2).collect::<Vec<_>>().join("."))
}
