//! Echoes lines to devices that present a certificate under the root.
//!
//! `server ROOT.pem CHAIN.pem KEY.pem ADDRESS [STANDARD_ROOT.pem STANDARD_CHAIN.pem STANDARD_KEY.pem]`
//!
//! Prints `listening ADDRESS`, and for each connection one line: the pairing, `full` or `resumed` and the device, or
//! `refused` and why.

use std::{
    env,
    error::Error,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
};

use rustls::{
    RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::Acceptor,
};
use rustls_shangmi::{Options, Server, chain::PinnedRoot, server::Configuration};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let options = Options { sessions: 64, ..Options::default() };
    let (root, chain, key, address, standard) = match arguments.as_slice() {
        [root, chain, key, address, standard @ ..] => (root, chain, key, address, standard),
        _ => return Err("server ROOT CHAIN KEY ADDRESS [STANDARD_ROOT STANDARD_CHAIN STANDARD_KEY]".into()),
    };
    let root = PinnedRoot::from_der(&CertificateDer::from_pem_file(root)?)?;
    let mut configurations = vec![Configuration::shangmi(
        root,
        certificates(chain)?,
        PrivateKeyDer::from_pem_file(key)?,
        &options,
    )?];
    if let [root, chain, key] = standard {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(root)?)?;
        let key = PrivateKeyDer::from_pem_file(key)?;
        configurations.push(Configuration::standard(roots, certificates(chain)?, key, &options)?);
    }
    let server = Server::new(configurations)?;
    let listener = TcpListener::bind(address)?;
    println!("listening {}", listener.local_addr()?);
    for socket in listener.incoming() {
        let mut socket = socket?;
        if let Err(error) = serve(&server, &mut socket) {
            println!("refused {error}");
            // Closing while bytes wait unread would reset the connection, and with it the alert.
            let _ = socket.shutdown(Shutdown::Write);
            let _ = io::copy(&mut socket, &mut io::sink());
        }
    }
    Ok(())
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, Box<dyn Error>> {
    Ok(CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?)
}

fn serve(server: &Server, socket: &mut TcpStream) -> Result<(), Box<dyn Error>> {
    let mut acceptor = Acceptor::default();
    let accepted = loop {
        if acceptor.read_tls(socket)? == 0 {
            return Err("no ClientHello".into());
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => break accepted,
            Ok(None) => {}
            Err((error, mut alert)) => {
                alert.write_all(socket)?;
                return Err(error.into());
            }
        }
    };
    let mut connection = match server.accept(accepted) {
        Ok(connection) => connection,
        Err(mut refused) => {
            refused.write_alert(socket)?;
            return Err(refused.into());
        }
    };
    while connection.is_handshaking() {
        connection.complete_io(socket)?;
    }
    let checked = server.check(&connection)?;
    let kind = if checked.is_resumed() { "resumed" } else { "full" };
    println!("{} {kind} {}", checked.pairing(), checked.uri().unwrap_or_default());
    let mut stream = StreamOwned::new(connection, socket);
    let mut buffer = [0; 16_384];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            stream.conn.send_close_notify();
            stream.flush()?;
            return Ok(());
        }
        stream.write_all(&buffer[..length])?;
        stream.flush()?;
    }
}
