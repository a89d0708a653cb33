//! One end of a TCP connection that says when, and how, it ended.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use nix::{
    sys::socket::{setsockopt, sockopt},
    time::{ClockId, clock_gettime},
};
use serde::Serialize;

/// What became of it. Times are boot times in nanoseconds.
#[derive(Debug, Default, Serialize)]
struct Ended {
    /// The errno; 0 where the other end has closed it.
    errno: i32,
    /// When that was known here.
    when: u64,
    /// When something was sent last.
    wrote: u64,
    /// How many bytes were read before.
    read: u64,
}

/// Connects, or waits for a connection; says `connected`; sends as many bytes as each line of standard input says, until
/// the connection has ended. Prints what became of it.
pub fn run(at: SocketAddr, listen: bool, probe: bool) {
    let made = if listen {
        let listener = TcpListener::bind(at).unwrap();
        println!("listening");
        listener.accept().map(|(connection, _)| connection)
    } else {
        TcpStream::connect(at)
    };
    let ended = match made {
        Ok(connection) => {
            if probe {
                setsockopt(&connection, sockopt::KeepAlive, &true).unwrap();
                setsockopt(&connection, sockopt::TcpKeepIdle, &1).unwrap();
            }
            println!("connected");
            until_it_ends(connection)
        }
        Err(error) => Ended { errno: number(&error), when: now(), ..Ended::default() },
    };
    println!("{}", serde_json::to_string(&ended).unwrap());
    // The other thread may wait for standard input still.
    std::process::exit(0);
}

/// A test that would wait for ever fails after this: the errno is EAGAIN then.
const PATIENCE: Duration = Duration::from_mins(1);

fn until_it_ends(mut connection: TcpStream) -> Ended {
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let ended = Arc::new(Mutex::new(Ended::default()));
    connection.set_write_timeout(Some(PATIENCE)).unwrap();
    let (mut writer, shared) = (connection.try_clone().unwrap(), ended.clone());
    // Held while something is being sent.
    let sending = Arc::new(Mutex::new(()));
    let held = sending.clone();
    thread::spawn(move || {
        for line in io::stdin().lines() {
            let bytes = vec![7; line.unwrap().parse().unwrap()];
            let _sending = held.lock().unwrap();
            shared.lock().unwrap().wrote = now();
            // An error is known to one of both threads only, the one that asks first: EPIPE says that the other one has
            // asked already, as does the end of the stream below.
            match writer.write_all(&bytes) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => note(&shared, &error),
                _ => {}
            }
        }
    });
    let mut block = vec![0; 1 << 16];
    loop {
        match connection.read(&mut block) {
            // Closed by the other end, or the other thread has been told of the error.
            Ok(0) => break,
            Ok(bytes) => ended.lock().unwrap().read += bytes as u64,
            Err(error) => {
                note(&ended, &error);
                break;
            }
        }
    }
    let now = now();
    let _sent = sending.lock().unwrap();
    let mut ended = ended.lock().unwrap();
    if ended.when == 0 {
        ended.when = now;
    }
    std::mem::take(&mut *ended)
}

fn note(ended: &Mutex<Ended>, error: &io::Error) {
    let mut ended = ended.lock().unwrap();
    if ended.errno == 0 {
        (ended.errno, ended.when) = (number(error), now());
    }
}

fn number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(-1)
}

fn now() -> u64 {
    crate::nanos(clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap().into())
}
