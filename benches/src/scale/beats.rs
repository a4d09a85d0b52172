//! Lease renewals: one heartbeat after another on kept connections.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::fleet::refused;
use super::process::processor;
use super::wire::{Client, request};

/// Connections that beat at the same time: the server always has work.
const LANES: usize = 64;

/// What the renewals cost.
#[derive(Debug, serde::Serialize)]
pub struct Beats {
    renewals: u64,
    seconds: f64,
    /// Seconds of the server's processor.
    processor: f64,
}

/// Renews leases in turn for `span`; `pid` is the server.
///
/// # Errors
/// When a heartbeat is refused.
pub async fn run(to: SocketAddr, pid: u32, sessions: &[String], span: Duration) -> std::io::Result<Beats> {
    let (began, before) = (Instant::now(), processor(pid)?);
    let mut lanes = Vec::new();
    for lane in 0..LANES {
        let own: Vec<Vec<u8>> = sessions.iter().skip(lane).step_by(LANES).map(|id| beat(id)).collect();
        lanes.push(tokio::task::spawn_local(async move {
            let mut client = Client::connect(to, lane).await?;
            let mut renewals = 0;
            for asked in own.iter().cycle().take_while(|_| began.elapsed() < span) {
                let answer = client.ask(asked).await?;
                if answer.status != 200 {
                    return Err(refused("beat", &answer));
                }
                renewals += 1;
            }
            Ok::<u64, std::io::Error>(renewals)
        }));
    }
    let mut renewals = 0;
    for lane in lanes {
        renewals += lane.await??;
    }
    let used = processor(pid)?.saturating_sub(before);
    Ok(Beats { renewals, seconds: began.elapsed().as_secs_f64(), processor: used.as_secs_f64() })
}

fn beat(session: &str) -> Vec<u8> {
    // As a sidecar of a quiet host beats: it says which policies it runs.
    let body = r#"{"policies":{"default":"00000000000000000000000000000000"}}"#;
    request("PUT", &format!("/v1/sessions/{session}"), body)
}
