//! Who is at the control socket: so many, and nobody who says nothing for long while others want to speak.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::oneshot;

/// All connections at a time.
pub(super) const PLACES: usize = 64;
/// Those of one process.
pub(super) const PLACES_EACH: usize = 16;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Peer {
    pub(super) uid: u32,
    /// `None` if it lives in a process namespace that we cannot see.
    pub(super) pid: Option<i32>,
}

/// All who are there, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    guests: RefCell<BTreeMap<u64, Guest>>,
    /// Numbers are never used twice: who was sent away still has its own.
    last: Cell<u64>,
}

#[derive(Debug)]
struct Guest {
    peer: Peer,
    /// Tells it to go; `None` once it has said something.
    silent: Option<oneshot::Sender<()>>,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    lobby: Rc<Lobby>,
    number: u64,
    wanted: oneshot::Receiver<()>,
}

impl Lobby {
    /// A place for somebody who comes. Where there is none left, it is that of whoever has been silent for longest: of the
    /// same process if that has its share, otherwise of the process with the most. `None` if all of these are at work.
    pub(super) fn enter(self: &Rc<Self>, peer: Peer) -> Option<Place> {
        if self.count(peer) >= PLACES_EACH {
            self.send_away(peer)?;
        } else if self.guests.borrow().len() >= PLACES {
            self.send_away(self.greediest()?)?;
        }
        let (silent, wanted) = oneshot::channel();
        let number = self.last.get() + 1;
        self.last.set(number);
        self.guests.borrow_mut().insert(number, Guest { peer, silent: Some(silent) });
        Some(Place { lobby: Rc::clone(self), number, wanted })
    }

    fn count(&self, peer: Peer) -> usize {
        self.guests.borrow().values().filter(|guest| guest.peer == peer).count()
    }

    /// The process with the most connections, of those with one that is silent.
    fn greediest(&self) -> Option<Peer> {
        let guests = self.guests.borrow();
        let silent = guests.values().filter(|guest| guest.silent.is_some()).map(|guest| guest.peer);
        silent.max_by_key(|peer| self.count(*peer))
    }

    fn send_away(&self, peer: Peer) -> Option<()> {
        let mut guests = self.guests.borrow_mut();
        let oldest = guests.iter().find(|(_, guest)| guest.peer == peer && guest.silent.is_some()).map(|(number, _)| *number)?;
        let silent = guests.remove(&oldest)?.silent?;
        // One that is just going does not hear it.
        _ = silent.send(());
        Some(())
    }
}

impl Place {
    /// Resolves when somebody else needs it, which happens only to those who have said nothing.
    pub(super) async fn is_wanted(&mut self) {
        if (&mut self.wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// It has said something: nobody sends it away any more.
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
        Peer { uid: 0, pid: Some(pid) }
    }

    fn is_sent_away(place: &mut Place) -> bool {
        place.is_wanted().now_or_never().is_some()
    }

    #[test]
    fn who_has_its_share_only_takes_from_itself() {
        let lobby = Rc::new(Lobby::default());
        let mut other = lobby.enter(process(2)).unwrap();
        let mut places: Vec<Place> = (0..PLACES_EACH).map(|_| lobby.enter(process(1)).unwrap()).collect();
        assert!(!places.iter_mut().any(is_sent_away));
        places.push(lobby.enter(process(1)).unwrap());
        let away: Vec<bool> = places.iter_mut().map(is_sent_away).collect();
        assert_eq!(away.iter().position(|away| *away), Some(0), "the oldest");
        assert_eq!(away.iter().filter(|away| **away).count(), 1);
        assert!(!is_sent_away(&mut other));
        // Who speaks stays.
        for place in &places {
            place.speaks();
        }
        assert!(lobby.enter(process(1)).is_none() && lobby.enter(process(3)).is_some());
        places.pop();
        assert!(lobby.enter(process(1)).is_some());
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
        assert_eq!(crowd.iter_mut().filter_map(|place| is_sent_away(place).then_some(())).count(), 1);
        assert_eq!(lobby.guests.borrow().len(), PLACES);
        for place in &crowd {
            place.speaks();
        }
        assert!(lobby.enter(process(100)).is_none(), "all are at work");
        drop((crowd, late));
        assert!(lobby.guests.borrow().is_empty());
    }
}
