//! The files of the demo's sidecars, as a person would write them.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::place::Place;

/// Whom a sidecar asks, and where it is asked.
pub(super) struct Contacts {
    pub(super) control: SocketAddr,
    pub(super) admin: SocketAddr,
}

/// Writes the file of a sidecar that stands before the app `name`.
pub(super) fn provider(
    place: &Place,
    name: &str,
    app: SocketAddr,
    inbound: SocketAddr,
    contacts: &Contacts,
) -> io::Result<PathBuf> {
    let own = format!(
        "outbound: {{ listen: \"off\" }}\n\
         apps:\n\
         - {{ service: hello, app: {app}, inbound: {inbound}, allow_loopback: true, check: {{ http: /healthz }} }}\n"
    );
    write(place, &format!("{name}-sidecar"), name, &own, contacts)
}

/// Writes the file of the consumer's sidecar, whose outbound port is `entry`.
pub(super) fn consumer(place: &Place, entry: SocketAddr, contacts: &Contacts) -> io::Result<PathBuf> {
    let own = format!("caller: consumer\noutbound: {{ listen: {entry} }}\n");
    write(place, "consumer", "consumer", &own, contacts)
}

fn write(place: &Place, file: &str, node: &str, own: &str, contacts: &Contacts) -> io::Result<PathBuf> {
    let Contacts { control, admin } = contacts;
    let state = place.data(file);
    let text = format!(
        "node: {node}\nstate: {state:?}\n{own}control: {{ urls: [\"http://{control}\"] }}\nadmin: {{ listen: {admin} }}\n"
    );
    let path = place.data(&format!("{file}.yaml"));
    fs::write(&path, text)?;
    Ok(path)
}
