//! Connects to a server twice, the second time resuming, and expects a line echoed each time.
//!
//! `client ROOT.pem CHAIN.pem KEY.pem ADDRESS NAME`
//!
//! Prints for each connection the pairing and `full` or `resumed`.

use std::{
    env,
    error::Error,
    io::{Read, Write},
    net::TcpStream,
};

use rustls::{
    StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use rustls_shangmi::{Client, Options, chain::PinnedRoot};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [root, chain, key, address, name] = arguments.as_slice() else {
        return Err("client ROOT CHAIN KEY ADDRESS NAME".into());
    };
    let root = PinnedRoot::from_der(&CertificateDer::from_pem_file(root)?)?;
    let chain = CertificateDer::pem_file_iter(chain)?.collect::<Result<_, _>>()?;
    let options = Options { sessions: 8, ..Options::default() };
    let client = Client::shangmi(root, chain, PrivateKeyDer::from_pem_file(key)?, &options)?;
    for _ in 0..2 {
        connect(&client, address, ServerName::try_from(name.clone())?)?;
    }
    Ok(())
}

fn connect(client: &Client, address: &str, name: ServerName<'static>) -> Result<(), Box<dyn Error>> {
    let mut socket = TcpStream::connect(address)?;
    let mut connection = client.connect(name.clone())?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    let checked = client.check(&connection, &name)?;
    println!("{} {}", checked.pairing(), if checked.is_resumed() { "resumed" } else { "full" });
    let mut stream = StreamOwned::new(connection, socket);
    stream.write_all(b"charge\n")?;
    let mut line = [0; 7];
    stream.read_exact(&mut line)?;
    if &line != b"charge\n" {
        return Err("another line came back".into());
    }
    stream.conn.send_close_notify();
    stream.flush()?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}
