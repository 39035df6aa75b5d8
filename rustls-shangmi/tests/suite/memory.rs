//! Two ends and no network.

use std::io::{Cursor, Read, Write};

use rustls::{ClientConnection, ConnectionCommon, ServerConnection, SideData, server::Acceptor};
use rustls_shangmi::{Checked, Client, Error, Server};

use crate::pki::gateway;

/// Both ends of a connection whose handshake has ended, tickets delivered.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) client: ClientConnection,
    pub(crate) server: ServerConnection,
}

/// Who refused, and why; and what the other end was told.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    ClientHello { error: Error, alert: rustls::Error },
    Client { error: rustls::Error, alert: rustls::Error },
    Server { error: rustls::Error, alert: rustls::Error },
}

pub(crate) fn connect(client: ClientConnection, server: &Server) -> Result<Ends, Failure> {
    connect_by(client, |hello| server.accept(hello).map_err(Some))
}

/// To a server of rustls alone.
pub(crate) fn connect_unchosen(
    client: ClientConnection,
    config: &std::sync::Arc<rustls::ServerConfig>,
) -> Result<Ends, Failure> {
    connect_by(client, |hello| hello.into_connection(config.clone()).map_err(|_| None))
}

type RefusedHello = Option<Box<rustls_shangmi::server::Refused>>;

fn connect_by(
    mut client: ClientConnection,
    accept: impl FnOnce(rustls::server::Accepted) -> Result<ServerConnection, RefusedHello>,
) -> Result<Ends, Failure> {
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut Cursor::new(hello)).unwrap();
    let accepted = acceptor.accept().map_err(|_| "a ClientHello").unwrap().unwrap();
    let mut server = match accept(accepted) {
        Ok(server) => server,
        Err(refused) => {
            let mut refused = refused.expect("the configuration refused the ClientHello");
            let mut alert = Vec::new();
            refused.write_alert(&mut alert).unwrap();
            client.read_tls(&mut Cursor::new(alert)).unwrap();
            let alert = client.process_new_packets().unwrap_err();
            return Err(Failure::ClientHello { error: refused.error().clone(), alert });
        }
    };
    for _ in 0..8 {
        if let Err(error) = pass(&mut server, &mut client) {
            let alert = pass(&mut client, &mut server).unwrap_err();
            return Err(Failure::Client { error, alert });
        }
        if let Err(error) = pass(&mut client, &mut server) {
            let alert = pass(&mut server, &mut client).unwrap_err();
            return Err(Failure::Server { error, alert });
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Ends { client, server })
}

/// What one end has to send, to the other.
fn pass<A: SideData, B: SideData>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<(), rustls::Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut bytes = Cursor::new(bytes);
    while to.read_tls(&mut bytes).unwrap() != 0 {
        to.process_new_packets()?;
    }
    Ok(())
}

pub(crate) fn handshake(client: &Client, server: &Server) -> Result<Ends, Failure> {
    connect(client.connect(gateway()).unwrap(), server)
}

/// Client's view, server's view.
pub(crate) fn check(
    ends: &Ends,
    client: &Client,
    server: &Server,
) -> (Result<Checked, Error>, Result<Checked, Error>) {
    (client.check(&ends.client, &gateway()), server.check(&ends.server))
}

impl Ends {
    /// Sends bytes both ways, in records of all sizes.
    pub(crate) fn exchange(&mut self) {
        for length in [1, 2, 255, 4_096, 16_383, 16_384] {
            let sent: Vec<u8> = (0..length).map(|place: usize| place.to_le_bytes()[0]).collect();
            let mut received = vec![0; length];
            self.client.writer().write_all(&sent).unwrap();
            pass(&mut self.client, &mut self.server).unwrap();
            self.server.reader().read_exact(&mut received).unwrap();
            assert_eq!(sent, received);
            received.fill(0);
            self.server.writer().write_all(&sent).unwrap();
            pass(&mut self.server, &mut self.client).unwrap();
            self.client.reader().read_exact(&mut received).unwrap();
            assert_eq!(sent, received);
        }
    }

    /// The next bytes the client sends.
    pub(crate) fn client_sends(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.client.writer().write_all(bytes).unwrap();
        let mut record = Vec::new();
        self.client.write_tls(&mut record).unwrap();
        record
    }
}
