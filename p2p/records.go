package p2p

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/record"

	"tertulia/ordering"
	"tertulia/p2p/discovery"
	"tertulia/p2p/wire"
)

// recordBytes is how much one PeerRecords frame is filled with.
const recordBytes = 256 << 10

// learn keeps a device's signed addresses, to pass them on to those who share a
// room with it, and tells the Handler if it is a member.
func (n *Network) learn(d ordering.DeviceKey, e *record.Envelope) {
	seq, b, err := discovery.Packed(e)
	if err != nil || len(b) > wire.MaxPeerRecord {
		return
	}
	n.mu.Lock()
	old, known := n.records[d]
	if known && old.seq >= seq || !known && len(n.records) >= maxRemembered {
		n.mu.Unlock()
		return
	}
	n.records[d] = addrRecord{seq, b}
	n.untold = true
	l := n.links[d]
	member := l != nil && l.member
	n.mu.Unlock()
	n.wake()
	if member {
		n.hold(d, e)
	}
}

// hold keeps a member's addresses for as long as the host runs, where those of
// others go some minutes after their last connection, and tells the Handler.
func (n *Network) hold(d ordering.DeviceKey, e *record.Envelope) {
	discovery.Consume(n.host, e)
	n.cfg.Handler.PeerAddrs(d)
}

// learnAll takes in what a member passed on. Only addresses of members are of
// use, and only a member is listened to.
func (n *Network) learnAll(from *link, envelopes [][]byte) {
	n.mu.Lock()
	member := from.member
	n.mu.Unlock()
	if !member {
		return // before its signatures cost anything
	}
	for _, b := range envelopes {
		e, id, err := discovery.Unpack(b)
		if err != nil {
			n.refused(from.device, ordering.BadSignature, err)
			continue
		}
		d, err := deviceOf(id)
		if err != nil || d == n.self {
			continue
		}
		n.mu.Lock()
		l := n.links[d]
		_, shared := n.shares[d]
		useful := shared || l != nil && l.wanted()
		n.mu.Unlock()
		if useful && discovery.Consume(n.host, e) {
			n.learn(d, e)
			n.retry(d)
		}
	}
}

// spreadRecords tells each connected peer the signed addresses of those with
// whom it shares a room, where it was not told yet.
func (n *Network) spreadRecords() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := time.Now(); n.untold || now.Sub(n.spread) >= recordsAgain {
		n.untold, n.spread = false, now
	} else {
		return
	}
	if e := discovery.Own(n.host); e != nil {
		if seq, b, err := discovery.Packed(e); err == nil && len(b) <= wire.MaxPeerRecord {
			n.records[n.self] = addrRecord{seq, b}
		}
	}
	inRoom := map[ordering.RoomID][]ordering.DeviceKey{}
	for d, rooms := range n.shares {
		for _, r := range rooms {
			inRoom[r] = append(inRoom[r], d)
		}
	}
	for d, rooms := range n.shares {
		l := n.links[d]
		if l == nil || l.cur == nil || !l.cur.greeted() {
			continue
		}
		due := map[ordering.DeviceKey]addrRecord{}
		for _, r := range rooms {
			for _, other := range inRoom[r] {
				if rec, ok := n.records[other]; ok && other != d {
					due[other] = rec
				}
			}
		}
		l.cur.tellRecords(due)
	}
}

// telling is what a peer was sent of another's signed addresses.
type telling struct {
	seq uint64
	at  time.Time
}

// tellRecords queues those of the records that the peer was not sent yet. A
// peer that could not use an address, because it had not heard yet that its owner
// is a member, dropped it: so it is sent again while the peer does not hear the
// owner.
func (s *session) tellRecords(due map[ordering.DeviceKey]addrRecord) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	f, size := &wire.PeerRecords{}, 0
	flush := func() {
		if len(f.Envelopes) > 0 {
			s.out.tell(f)
		}
		f, size = &wire.PeerRecords{}, 0
	}
	for d, r := range due {
		if t := s.told[d]; t.seq >= r.seq && (now.Sub(t.at) < recordsAgain || slices.Contains(s.hears, d)) {
			continue
		}
		s.told[d] = telling{r.seq, now}
		if len(f.Envelopes) == wire.MaxPeerRecords || size+len(r.envelope) > recordBytes {
			flush()
		}
		f.Envelopes = append(f.Envelopes, r.envelope)
		size += len(r.envelope)
	}
	flush()
}
