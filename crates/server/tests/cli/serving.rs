//! `chathook serve` as an operator runs it: what it prints, and what a renewed certificate asks of them.

use std::fs;

use rcgen::generate_simple_self_signed;

use crate::support::*;

/// A certificate for loopback that is its own root, and its key.
fn pair(shell: &Shell, root: &str) {
    let made = generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("made");
    let home = shell.home();
    fs::write(home.join(root), made.cert.pem()).expect("written");
    fs::write(home.join("cert.pem"), made.cert.pem()).expect("written");
    fs::write(home.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
}

#[tokio::test]
async fn a_certificate_is_renewed_by_a_signal_without_a_restart() {
    let shell =
        Shell::bare().with("CHATHOOK_MANAGEMENT_KEY", "mk_own").with("CHATHOOK_MANAGEMENT_SECRET", "ms_own");
    pair(&shell, "first.pem");
    let mut server = shell.start(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--tls-cert",
        "cert.pem",
        "--tls-key",
        "key.pem",
    ]);
    let address = server.line().await;
    let address = address.strip_prefix("address: https://").expect("the scheme is told").to_owned();
    let admin = server.line().await;
    let admin = admin.strip_prefix("admin address: ").expect("the admin door is told").to_owned();
    assert_eq!(server.line().await, format!("dashboard: {admin}/dashboard"));
    assert_eq!(server.line().await, format!("documents: https://{address}/docs"));

    let apps = async |root: &str| shell.run(&["apps", "list", "--server", &admin, "--ca", root]).await.code;
    assert_eq!(apps("first.pem").await, 0);
    pair(&shell, "renewed.pem");
    assert_eq!(apps("renewed.pem").await, 3, "nobody has looked yet");
    server.signal("-HUP");
    until("the renewed certificate is shown", async || apps("renewed.pem").await == 0).await;
    assert_eq!(apps("first.pem").await, 3);
    server.terminate();
    assert_eq!(server.ended().await, 0);
}
