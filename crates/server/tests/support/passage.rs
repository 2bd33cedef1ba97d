//! A way through to a server that can be cut, and led elsewhere.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

pub struct Passage {
    pub address: SocketAddr,
    to: Arc<Mutex<SocketAddr>>,
    open: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Passage {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (to, open) = (Arc::new(Mutex::new(server)), Arc::<Mutex<Vec<AbortHandle>>>::default());
        let passage = Self { address, to: to.clone(), open: open.clone() };
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.expect("a connection");
                let to = *to.lock().expect("the address");
                let carried = tokio::spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(to).await {
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
                open.lock().expect("the connections").push(carried.abort_handle());
            }
        });
        passage
    }

    /// Breaks what is open.
    pub fn cut(&self) {
        self.open.lock().expect("the connections").drain(..).for_each(|carried| carried.abort());
    }

    /// What is opened from now on leads there.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.to.lock().expect("the address") = server;
    }
}
