//! As much of a service over HTTP as the tests ask for: GET, one answer after the other on connections that stay.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// A status and a text.
pub type Answer = (u16, String);

/// Answers requests by their path until killed.
pub fn serve(listen: SocketAddr, answer: impl Fn(&str) -> Answer + Send + Sync + 'static) {
    let (listener, answer) = (TcpListener::bind(listen).unwrap(), Arc::new(answer));
    for stream in listener.incoming().flatten() {
        let answer = answer.clone();
        thread::spawn(move || {
            let _gone = converse(stream, &*answer);
        });
    }
}

fn converse(stream: TcpStream, answer: &dyn Fn(&str) -> Answer) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            if reader.read_line(&mut request)? == 0 {
                return Ok(());
            }
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        let (status, text) = answer(path);
        let length = text.len();
        write!(writer, "HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n\r\n{text}")?;
        if request.contains("\r\nConnection: close\r\n") {
            return Ok(());
        }
    }
}
