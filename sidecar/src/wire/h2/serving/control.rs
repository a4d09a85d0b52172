//! Frames from the client that carry no message (RFC 9113 §6.3 to §6.9).

use h2::Reason;

use super::engine::{Engine, LEAVING};
use super::frame::{self, ACK, Head, PING, SETTINGS};
use super::receive::Told;
use super::settings;
use super::stream::Failed;

impl Engine {
    pub(super) fn priority(&mut self, head: Head, payload: &[u8]) -> Told {
        if head.stream == 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let why = match payload.len() {
            5 if frame::number(payload) != head.stream => return Ok(()),
            5 => Reason::PROTOCOL_ERROR,
            _ => Reason::FRAME_SIZE_ERROR,
        };
        let open = self.streams.get(&head.stream).is_some_and(|stream| !stream.closed());
        if open { self.refuse(head.stream, why) } else { Ok(()) }
    }

    pub(super) fn rst_stream(&mut self, head: Head, payload: &[u8]) -> Told {
        if payload.len() != 4 {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        self.known(head.stream)?;
        if let Some(stream) = self.streams.get_mut(&head.stream)
            && !stream.closed()
        {
            stream.failed = Some(Failed::Reset);
            stream.wake();
        }
        Ok(())
    }

    pub(super) fn settings(&mut self, head: Head, payload: &[u8]) -> Told {
        if head.stream != 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if head.has(ACK) {
            return if payload.is_empty() { Ok(()) } else { Err(Reason::FRAME_SIZE_ERROR) };
        }
        if let Some(window) = settings::read(payload)? {
            let more = i64::from(window) - i64::from(self.theirs);
            self.theirs = window;
            let fit = self.streams.values_mut().all(|stream| {
                stream.wake();
                stream.outflow.grow(more)
            });
            if !fit {
                return Err(Reason::FLOW_CONTROL_ERROR);
            }
        }
        self.greeted = true;
        frame::put(&mut self.out, SETTINGS, ACK, 0, &[]);
        Ok(())
    }

    pub(super) fn ping(&mut self, head: Head, payload: &[u8]) -> Told {
        if head.stream != 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if payload.len() != LEAVING.len() {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        match head.has(ACK) {
            true if payload == LEAVING => self.leave_above(),
            true => {}
            false => frame::put(&mut self.out, PING, ACK, 0, payload),
        }
        Ok(())
    }

    pub(super) fn goaway(&mut self, head: Head, payload: &[u8]) -> Told {
        if head.stream != 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if payload.len() < 8 {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        self.left = true;
        Ok(())
    }

    pub(super) fn window_update(&mut self, head: Head, payload: &[u8]) -> Told {
        if payload.len() != 4 {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        let (id, more) = (head.stream, frame::number(payload));
        if id == 0 {
            return match more {
                0 => Err(Reason::PROTOCOL_ERROR),
                _ if !self.outflow.grow(more.into()) => Err(Reason::FLOW_CONTROL_ERROR),
                _ => {
                    self.call_next();
                    Ok(())
                }
            };
        }
        self.known(id)?;
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.closed()) else { return Ok(()) };
        if more == 0 {
            return self.refuse(id, Reason::PROTOCOL_ERROR);
        }
        if !stream.outflow.grow(more.into()) {
            return self.refuse(id, Reason::FLOW_CONTROL_ERROR);
        }
        stream.wake();
        Ok(())
    }
}
