//! The clients of the control socket: their number is limited, and one that sends nothing for long,
//! or does not read its answer, has to make room if others want to connect.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::oneshot;

/// All connections at a time.
pub(super) const PLACES: usize = 64;
/// Those of one process.
pub(super) const PLACES_EACH: usize = 16;

/// Bytes of answers that wait to be read, all together: the status of a thousand virtual hosts is
/// one megabyte.
pub(super) const UNREAD_MAX: usize = 16 << 20;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Peer {
    pub(super) uid: u32,
    /// `None` if it lives in a process namespace that we cannot see.
    pub(super) pid: Option<i32>,
}

/// All connected clients, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    guests: RefCell<BTreeMap<u64, Guest>>,
    /// Ids are never reused: a client that was disconnected still has its own.
    last: Cell<u64>,
}

#[derive(Debug)]
struct Guest {
    peer: Peer,
    /// Tells it to go; `None` while its request is carried out.
    silent: Option<oneshot::Sender<()>>,
    /// Bytes of an answer that it may not have read.
    unread: usize,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    lobby: Rc<Lobby>,
    number: u64,
    wanted: oneshot::Receiver<()>,
}

impl Lobby {
    /// A slot for a new client. If there is none left, it takes the slot of the client that has
    /// been silent for longest: one of the same process if that has its share of slots, otherwise
    /// one of the process with the most. `None` if all of these are busy.
    pub(super) fn enter(self: &Rc<Self>, peer: Peer) -> Option<Place> {
        if self.count(peer) >= PLACES_EACH {
            self.send_away(peer)?;
        } else if self.guests.borrow().len() >= PLACES {
            self.send_away(self.greediest()?)?;
        }
        let (silent, wanted) = oneshot::channel();
        let number = self.last.get() + 1;
        self.last.set(number);
        self.guests.borrow_mut().insert(
            number,
            Guest {
                peer,
                silent: Some(silent),
                unread: 0,
            },
        );
        Some(Place {
            lobby: Rc::clone(self),
            number,
            wanted,
        })
    }

    fn count(&self, peer: Peer) -> usize {
        self.guests
            .borrow()
            .values()
            .filter(|guest| guest.peer == peer)
            .count()
    }

    /// The process with the most connections, of those with one that is silent.
    fn greediest(&self) -> Option<Peer> {
        let guests = self.guests.borrow();
        let silent = guests
            .values()
            .filter(|guest| guest.silent.is_some())
            .map(|guest| guest.peer);
        silent.max_by_key(|peer| self.count(*peer))
    }

    fn send_away(&self, peer: Peer) -> Option<()> {
        self.send_away_oldest(|_, guest| guest.peer == peer)
    }

    /// The client that has read least makes room for the answer to `reader`.
    fn bound_answers(&self, reader: u64) {
        let unread = || {
            self.guests
                .borrow()
                .values()
                .map(|guest| guest.unread)
                .sum::<usize>()
        };
        while unread() > UNREAD_MAX
            && self
                .send_away_oldest(|number, guest| number != reader && guest.unread > 0)
                .is_some()
        {}
    }

    fn send_away_oldest(&self, of: impl Fn(u64, &Guest) -> bool) -> Option<()> {
        let mut guests = self.guests.borrow_mut();
        let fits = |(number, guest): &(&u64, &Guest)| guest.silent.is_some() && of(**number, guest);
        let oldest = guests.iter().find(fits).map(|(number, _)| *number)?;
        let silent = guests.remove(&oldest)?.silent?;
        // One that is just going does not hear it.
        _ = silent.send(());
        Some(())
    }
}

impl Place {
    /// Resolves when another client needs the slot, which happens only if this one has sent
    /// nothing, or does not read.
    pub(super) async fn is_wanted(&mut self) {
        if (&mut self.wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The client was sent an answer of this size: from now on it may be disconnected again, if it
    /// does not read.
    pub(super) fn answered(&mut self, bytes: usize) {
        let silent;
        (silent, self.wanted) = oneshot::channel();
        if let Some(guest) = self.lobby.guests.borrow_mut().get_mut(&self.number) {
            (guest.silent, guest.unread) = (Some(silent), bytes);
        }
        self.lobby.bound_answers(self.number);
    }

    /// The client has sent a request: from now on it is not disconnected to make room.
    pub(super) fn speaks(&self) {
        if let Some(guest) = self.lobby.guests.borrow_mut().get_mut(&self.number) {
            guest.silent = None;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lobby.guests.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const fn process(pid: i32) -> Peer {
        Peer {
            uid: 0,
            pid: Some(pid),
        }
    }

    fn is_sent_away(place: &mut Place) -> bool {
        place.is_wanted().now_or_never().is_some()
    }

    #[test]
    fn who_has_its_share_only_takes_from_itself() {
        let lobby = Rc::new(Lobby::default());
        let mut other = lobby.enter(process(2)).unwrap();
        let mut places: Vec<Place> = (0..PLACES_EACH)
            .map(|_| lobby.enter(process(1)).unwrap())
            .collect();
        assert!(!places.iter_mut().any(is_sent_away));
        places.push(lobby.enter(process(1)).unwrap());
        let away: Vec<bool> = places.iter_mut().map(is_sent_away).collect();
        assert_eq!(away.iter().position(|away| *away), Some(0), "the oldest");
        assert_eq!(away.iter().filter(|away| **away).count(), 1);
        assert!(!is_sent_away(&mut other));
        // A client that sends something stays.
        for place in &places {
            place.speaks();
        }
        assert!(lobby.enter(process(1)).is_none() && lobby.enter(process(3)).is_some());
        places.pop();
        assert!(lobby.enter(process(1)).is_some());
    }

    #[test]
    fn who_does_not_read_keeps_no_place_and_little_memory() {
        let lobby = Rc::new(Lobby::default());
        let mut places: Vec<Place> = (0..PLACES_EACH)
            .map(|_| lobby.enter(process(1)).unwrap())
            .collect();
        places.iter().for_each(Place::speaks);
        assert!(lobby.enter(process(1)).is_none(), "all are at work");
        for place in &mut places {
            place.answered(UNREAD_MAX / 4);
        }
        let away: Vec<bool> = places.iter_mut().map(is_sent_away).collect();
        assert_eq!(
            away.iter().position(|away| !away),
            Some(PLACES_EACH - 4),
            "the newest four are left"
        );
        places.extend((0..PLACES_EACH - 4).map(|_| lobby.enter(process(1)).unwrap()));
        places.iter().for_each(Place::speaks);
        let mut reader = lobby.enter(process(2)).unwrap();
        reader.speaks();
        reader.answered(2 * UNREAD_MAX);
        assert!(
            !is_sent_away(&mut reader),
            "one answer may be as long as it is"
        );
    }

    #[test]
    fn a_full_house_has_room_for_who_comes_as_long_as_somebody_is_silent() {
        let lobby = Rc::new(Lobby::default());
        let mut crowd: Vec<Place> = Vec::new();
        for pid in 1..=i32::try_from(PLACES / PLACES_EACH).unwrap() {
            crowd.extend((0..PLACES_EACH).map(|_| lobby.enter(process(pid)).unwrap()));
        }
        let late = lobby.enter(process(99)).unwrap();
        late.speaks();
        assert_eq!(
            crowd
                .iter_mut()
                .filter_map(|place| is_sent_away(place).then_some(()))
                .count(),
            1
        );
        assert_eq!(lobby.guests.borrow().len(), PLACES);
        for place in &crowd {
            place.speaks();
        }
        assert!(lobby.enter(process(100)).is_none(), "all are at work");
        drop((crowd, late));
        assert!(lobby.guests.borrow().is_empty());
    }
}
