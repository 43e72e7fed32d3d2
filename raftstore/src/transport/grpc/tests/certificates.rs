//! Certificates: both ends must show one of the same authority.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::{Peer, client, serve, settings, until_reached, vote};
use crate::transport::Transport;
use crate::transport::grpc::TlsFiles;
use crate::transport::grpc::proto::stores_client::StoresClient;
use crate::transport::grpc::{AddressTable, GrpcError, GrpcServer, GrpcSettings, GrpcTransport};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Files for a store: it trusts `trusted`, and its certificate is signed by `signer`.
fn files(dir: &Path, name: &str, trusted: &Authority, signer: &Authority) -> TlsFiles {
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned(), "store.neokv".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, signer).unwrap();
    let write = |end: &str, text: String| {
        let path = dir.join(format!("{name}.{end}"));
        std::fs::write(&path, text).unwrap();
        path
    };
    TlsFiles {
        authority: write("ca.pem", trusted.pem()),
        certificate: write("pem", certificate.pem()),
        key: write("key", key.serialize_pem()),
        name: None,
    }
}

fn with(store: u64, tls: TlsFiles) -> GrpcSettings {
    GrpcSettings { tls: Some(tls), ..settings(store) }
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_of_one_authority_speak_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (authority(), authority());
    let peer = Peer::new();
    let server = serve(with(2, files(dir.path(), "server", &ours, &ours)), &peer).await;

    let good = files(dir.path(), "good", &ours, &ours);
    for name in [None, Some("store.neokv".to_owned())] {
        let transport = client(with(1, TlsFiles { name, ..good.clone() }), server.address());
        until_reached(&transport, 2).await;
        transport.stop().await;
    }
    let received = peer.received.load(Ordering::Relaxed);
    for (what, wrong) in [
        ("no certificate at all", settings(1)),
        ("another authority's", with(1, files(dir.path(), "a", &ours, &theirs))),
        ("trusts another authority", with(1, files(dir.path(), "b", &theirs, &ours))),
        (
            "looks for another name",
            with(1, TlsFiles { name: Some("other.neokv".to_owned()), ..good }),
        ),
    ] {
        let transport = client(wrong, server.address());
        for _ in 0..3 {
            let error = transport.call(2, vote("let me in")).await.unwrap_err();
            assert!(error.to_string().contains("cannot be reached"), "{what}: {error}");
        }
        transport.stop().await;
    }
    assert_eq!(peer.received.load(Ordering::Relaxed), received);
    server.stop().await;
}

/// TLS alone is not enough: the server wants a certificate of the client, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_tls_and_no_certificate_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ours = authority();
    let server = serve(with(2, files(dir.path(), "server", &ours, &ours)), &Peer::new()).await;
    let authority = tonic::transport::Certificate::from_pem(ours.pem());
    let tls = tonic::transport::ClientTlsConfig::new().ca_certificate(authority);
    let address = format!("https://{}", server.address());
    let endpoint = tonic::transport::Endpoint::from_shared(address).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect_lazy();
    let mut client = StoresClient::new(channel);
    let requests = futures_util::stream::pending();
    client.lane(requests).await.unwrap_err();
    server.stop().await;
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let ours = authority();
    let good = files(dir.path(), "good", &ours, &ours);
    let missing = TlsFiles { key: dir.path().join("nowhere.key"), ..good.clone() };
    let start = |tls: &TlsFiles| {
        let endpoint = Arc::new(Peer::new());
        GrpcServer::start("127.0.0.1:0", with(2, tls.clone()), endpoint)
    };
    let make =
        |tls: &TlsFiles| GrpcTransport::new(with(1, tls.clone()), Arc::new(AddressTable::new()));
    for error in [start(&missing).await.unwrap_err(), make(&missing).unwrap_err()] {
        assert!(matches!(error, GrpcError::File { .. }), "{error}");
        assert!(error.to_string().contains("nowhere.key"), "{error}");
    }
    let swapped = TlsFiles { key: good.certificate.clone(), ..good };
    for error in [start(&swapped).await.unwrap_err(), make(&swapped).unwrap_err()] {
        assert!(matches!(error, GrpcError::Certificates(_)), "{error}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = GrpcServer::start(&address, settings(2), Arc::new(Peer::new())).await.unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
}
