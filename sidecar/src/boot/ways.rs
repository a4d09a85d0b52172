//! Every way in that a configuration names, opened before anything else: what is taken is told at once.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use api::ServiceKey;
use api::config::{AppConfig, SidecarConfig};
use api::schema::Switch;

use crate::accept::{CannotListen, Door, Listening, Way, open_tcp, open_unix};
use crate::inherit::Inherited;
use crate::local::BoundApp;
use crate::tls::Tls;

/// What a sidecar listens at.
pub(super) struct Ways {
    /// For requests, in the order of the file.
    pub(super) doors: Vec<Listening>,
    /// For whoever operates it.
    pub(super) admin: Option<(TcpListener, SocketAddr)>,
    /// The same, on this host alone.
    pub(super) admin_unix: Option<UnixListener>,
}

impl Ways {
    /// Opens all, or takes them from the process that this one replaces.
    pub(super) fn open(
        config: &SidecarConfig,
        tls: &Tls,
        given: &mut Inherited,
    ) -> Result<Self, CannotListen> {
        let doors = open(config, tls, given)?;
        let admin = match config.admin.listen {
            Switch::On(address) => Some(open_tcp("admin", address, given)?),
            Switch::Off => None,
        };
        let admin_unix = match config.admin.unix.as_path() {
            path if path.as_os_str().is_empty() => None,
            path => Some(open_unix("admin", path, given)?),
        };
        Ok(Self { doors, admin, admin_unix })
    }

    /// The TCP ways of requests, each with the address really bound.
    pub(super) fn bound(&self) -> Vec<(Way, SocketAddr)> {
        self.doors.iter().filter_map(|door| Some((door.way.clone(), door.address()?))).collect()
    }

    /// Every listener with its name, for the process that may replace this one.
    pub(super) fn keep(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let mut kept = Vec::new();
        for listening in &self.doors {
            let socket = match &listening.door {
                Door::Tcp(socket, _) => socket.as_fd(),
                Door::Unix(socket, _) => socket.as_fd(),
            };
            kept.push((listening.way.to_string(), socket.try_clone_to_owned()?));
        }
        let admin = self.admin.iter().map(|(socket, _)| socket.as_fd());
        for socket in admin.chain(self.admin_unix.iter().map(AsFd::as_fd)) {
            kept.push(("admin".to_owned(), socket.try_clone_to_owned()?));
        }
        Ok(kept)
    }
}

/// Opens the ways of requests.
fn open(config: &SidecarConfig, tls: &Tls, given: &mut Inherited) -> Result<Vec<Listening>, CannotListen> {
    let mut doors = Vec::new();
    if let Switch::On(address) = config.outbound.listen {
        doors.push(Listening::tcp(Way::Outbound, address, given)?.showing(tls.shown(&Way::Outbound)));
    }
    if !config.outbound.unix.as_os_str().is_empty() {
        doors.push(Listening::unix(Way::Outbound, &config.outbound.unix, given)?);
    }
    for (service, known) in &config.services {
        if let Some(address) = known.listen {
            let way = Way::Service(service.clone());
            let shown = tls.shown(&way);
            doors.push(Listening::tcp(way, address, given)?.showing(shown).speaking(known.protocol));
        }
    }
    for app in &config.apps {
        if let Switch::On(address) = app.inbound {
            let way = Way::Inbound(app.service.clone());
            let shown = tls.shown(&way);
            doors.push(Listening::tcp(way, address, given)?.showing(shown).speaking(app.protocol));
        }
    }
    Ok(doors)
}

/// Each app with the inbound address really bound.
pub(super) fn apps(config: &SidecarConfig, ways: &[(Way, SocketAddr)]) -> Vec<BoundApp> {
    let inbound = |service: &ServiceKey| {
        let found = ways.iter().find(|(way, _)| *way == Way::Inbound(service.clone()));
        found.map(|(_, address)| *address)
    };
    let app = |app: &AppConfig| BoundApp { config: app.clone(), inbound: inbound(&app.service) };
    config.apps.iter().map(app).collect()
}
