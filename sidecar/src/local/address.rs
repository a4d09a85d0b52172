//! Where others reach this host.
//!
//! The source address that the kernel would use on the way to the control plane is the one that the rest of
//! the fleet can most likely reach. A connected UDP socket tells it without sending a packet. Loopback is
//! registered only where the file says so: on any other host it would name the caller itself.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use api::{Instance, InstanceKey};
use thiserror::Error;
use tokio::net::UdpSocket;

use super::BoundApp;

/// An app's address could not be chosen.
#[derive(Debug, Error)]
pub(crate) enum NoAddress {
    /// The kernel knows no way to the control plane, or its name has no address.
    #[error("no route to the control plane tells this host's address ({0}); write apps[].advertise")]
    NoRoute(#[from] io::Error),
    /// What was found is loopback.
    #[error("{0} would mean every caller's own host; write apps[].advertise, or allow_loopback: true")]
    Loopback(IpAddr),
}

/// The address this host has on the way to `towards`.
pub(crate) async fn by_route(towards: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match towards {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(towards).await?;
    Ok(socket.local_addr()?.ip())
}

/// The address to register for `app`: what the file says, else the one address its listener is bound to,
/// else the one `route` found.
pub(crate) fn choose(app: &BoundApp, route: io::Result<IpAddr>) -> Result<IpAddr, NoAddress> {
    let bound = app.inbound.map(|inbound| inbound.ip()).filter(|ip| !ip.is_unspecified());
    let ip = match app.config.advertise.or(bound) {
        Some(ip) => ip,
        None => route?,
    };
    if ip.is_loopback() && !app.config.allow_loopback {
        return Err(NoAddress::Loopback(ip));
    }
    Ok(ip)
}

/// What is registered for `app` on a host reached by `ip`.
pub(crate) fn instance(app: &BoundApp, ip: IpAddr, zone: &str) -> Instance {
    let config = &app.config;
    let port = app.inbound.map_or(config.app.port(), |inbound| inbound.port());
    Instance {
        key: InstanceKey { service: config.service.clone(), ip, port: config.app.port() },
        protocol: config.protocol,
        tls: app.inbound.is_some() && config.inbound_tls.is_on(),
        weight: config.weight,
        zone: zone.to_owned(),
        lane: config.lane.clone(),
        labels: config.labels.clone().into(),
        sidecar: app.inbound.is_some(),
        ..Instance::at(config.service.clone(), SocketAddr::new(ip, port))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use api::config::AppConfig;
    use api::yaml;

    fn app(words: &str, inbound: Option<&str>) -> BoundApp {
        let text = format!("apps: [{{ service: cart, app: 127.0.0.1:9000{words} }}]");
        let file: api::config::SidecarConfigWords = yaml::read_one(&text).unwrap();
        let config: AppConfig = api::schema::Words::settle(&file).apps.remove(0);
        BoundApp { config, inbound: inbound.map(|at| at.parse().unwrap()) }
    }

    fn check(words: &str, inbound: Option<&str>, route: &str, wanted: &str) {
        let told = match choose(&app(words, inbound), Ok(route.parse().unwrap())) {
            Ok(ip) => ip.to_string(),
            Err(why) => why.to_string(),
        };
        assert!(told.starts_with(wanted), "{told}");
    }

    #[test]
    fn the_address_is_said_or_bound_or_found() {
        check("", None, "10.0.0.7", "10.0.0.7");
        check("", Some("0.0.0.0:81"), "10.0.0.7", "10.0.0.7");
        check("", Some("10.9.9.9:81"), "10.0.0.7", "10.9.9.9");
        check(", advertise: 192.0.2.1", Some("10.9.9.9:81"), "10.0.0.7", "192.0.2.1");
    }

    #[test]
    fn loopback_only_if_said() {
        check("", None, "127.0.0.1", "127.0.0.1 would mean");
        check("", Some("127.0.0.1:81"), "10.0.0.7", "127.0.0.1 would mean");
        check(", allow_loopback: true", Some("127.0.0.1:81"), "10.0.0.7", "127.0.0.1");
    }

    #[test]
    fn callers_connect_to_the_listener_before_the_app() {
        let ip = "10.0.0.7".parse().unwrap();
        let before = instance(&app("", Some("0.0.0.0:81")), ip, "a");
        assert_eq!((before.address.port(), before.key.port, before.sidecar), (81, 9000, true));
        let bare = instance(&app("", None), ip, "a");
        assert_eq!((bare.address.port(), bare.key.port, bare.sidecar), (9000, 9000, false));
    }

    #[tokio::test]
    async fn the_route_to_loopback_is_loopback() {
        assert_eq!(by_route("127.0.0.1:9".parse().unwrap()).await.unwrap(), Ipv4Addr::LOCALHOST);
    }
}
