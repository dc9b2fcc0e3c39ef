//! Bytes and datagrams sent back as they came.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::thread;

/// Largest piece that is read at once; the largest UDP datagram fits.
const BUFFER_BYTES: usize = 65_536;

/// Serves TCP until the process ends, a thread a connection.
pub fn tcp(listener: &TcpListener) {
    for mut stream in listener.incoming().flatten() {
        thread::spawn(move || {
            let mut buffer = [0; BUFFER_BYTES];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
        });
    }
}

/// Serves UDP until the process ends.
pub fn udp(socket: &UdpSocket) {
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        if let Ok((count, from)) = socket.recv_from(&mut buffer) {
            // A datagram may be lost anywhere on the way; here too.
            let _ = socket.send_to(&buffer[..count], from);
        }
    }
}
