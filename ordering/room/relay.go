package room

import (
	"time"

	"tertulia/ordering"
)

// Limits of passing on.
const (
	relaysKept  = 4096             // nonces remembered, so that what was passed on is not again
	relayFanout = 2                // members asked to pass on at once, where some reach the receiver
	floodFresh  = 10 * time.Second // heard of so lately, a member is looked for by way of everybody
	floodPause  = time.Second      // between two tries to find one that was not
)

// relays passes signals on between members that do not reach each other (B12).
type relays struct {
	nonce uint64
	seen  map[relayID]bool
	tried map[ordering.DeviceKey]time.Time // by way of everybody
	ring  []relayID
	next  int
}

type relayID struct {
	from  ordering.DeviceKey
	nonce uint64
}

func newRelays() relays {
	return relays{seen: make(map[relayID]bool), tried: make(map[ordering.DeviceKey]time.Time)}
}

// remember notes a relay that was not met before, in place of the oldest.
func (r *relays) remember(id relayID) {
	r.seen[id] = true
	if len(r.ring) < relaysKept {
		r.ring = append(r.ring, id)
		return
	}
	delete(r.seen, r.ring[r.next])
	r.ring[r.next] = id
	r.next = (r.next + 1) % relaysKept
}

// signal says something to a member: directly if it is connected, else through
// others. Before a connected member has told what it remembers of us, it hears
// nothing but our standing (PROTOCOL.md 1, Crash).
func (c *Core) signal(to ordering.DeviceKey, s ordering.Signal) {
	if to == c.cfg.Self.Device || c.setBack {
		return
	}
	if p := c.peers[to]; p != nil {
		if _, standing := s.(*ordering.Standing); p.met || standing {
			c.send(to, s)
		}
		if !p.met || !p.vital.Suspected {
			return // who is suspected may be reached by others
		}
	}
	if len(c.peers) == 0 || !c.mayOrder(to) {
		return
	}
	if c.relays.nonce == 0 {
		c.relays.nonce = uint64(c.now.UnixNano()) // unlike those of an earlier life
	}
	if _, flood := c.ways(to, c.cfg.Self.Device, c.cfg.Self.Device); flood {
		// Nobody near reaches it. It may be there all the same, further off: then
		// it was heard of lately.
		if last := c.relays.tried[to]; c.now.Sub(c.heardOf(to)) > floodFresh && c.now.Sub(last) < floodPause {
			return
		}
		if len(c.relays.tried) >= relaysKept {
			clear(c.relays.tried)
		}
		c.relays.tried[to] = c.now
	}
	c.relays.nonce++
	c.passOn(ordering.SignRelay(c.cfg.Key, c.cfg.Room, to, c.relays.nonce, s), c.cfg.Self.Device)
}

// passOn sends a relay to those who reach its receiver, or else to all.
func (c *Core) passOn(r *ordering.Relay, bringer ordering.DeviceKey) {
	ways, _ := c.ways(r.To, r.From, bringer)
	for _, d := range ways {
		c.send(d, r)
	}
}

// ways returns to whom a relay is handed, and whether they are all there are
// since none of them reaches its receiver.
func (c *Core) ways(to, from, bringer ordering.DeviceKey) (ways []ordering.DeviceKey, flood bool) {
	var near []ordering.DeviceKey
	for _, d := range c.Connected() {
		if d == bringer || d == from || d == to || c.peers[d].vital.Suspected {
			continue
		}
		ways = append(ways, d)
		if c.peers[d].hears[to] {
			near = append(near, d)
		}
	}
	if len(near) > 0 {
		return near[:min(len(near), relayFanout)], false
	}
	return ways, true
}

// heardOf returns when a device last said something, directly or through others.
func (c *Core) heardOf(d ordering.DeviceKey) time.Time {
	at := c.instance(d)
	k := c.known[at]
	if k == nil {
		return time.Time{}
	}
	if o := c.order; o != nil {
		return maxTime(k.at, o.heard[at])
	}
	return k.at
}

// relay takes a relay: it is for us, or is passed on.
func (c *Core) relay(bringer ordering.DeviceKey, r *ordering.Relay) error {
	switch {
	case r.Room != c.cfg.Room || r.From == c.cfg.Self.Device:
		return nil
	case !c.mayOrder(r.From) || !c.mayOrder(r.To):
		return ordering.Refuse(ordering.NotMember, ordering.EntryID{})
	case c.relays.seen[relayID{r.From, r.Nonce}]:
		return nil
	case !r.Verify():
		return ordering.Refuse(ordering.BadSignature, ordering.EntryID{})
	}
	c.relays.remember(relayID{r.From, r.Nonce})
	if r.To == c.cfg.Self.Device {
		s, err := ordering.DecodeSignal(r.Data)
		if err != nil {
			return ordering.Refuse(ordering.Malformed, ordering.EntryID{})
		}
		return c.heed(r.From, s, false)
	}
	if r.Hops == 0 {
		return nil
	}
	on := *r
	on.Hops--
	if p := c.peers[r.To]; p != nil && !p.vital.Suspected {
		c.send(r.To, &on)
		return nil
	}
	c.passOn(&on, bringer)
	return nil
}

// heed takes a signal that a member said, itself or through others.
func (c *Core) heed(d ordering.DeviceKey, s ordering.Signal, direct bool) error {
	if !c.mayOrder(d) && !direct {
		return ordering.Refuse(ordering.NotMember, ordering.EntryID{})
	}
	if s, ok := s.(*ordering.Standing); ok {
		return c.heedStanding(d, s, direct)
	}
	if p := c.peers[d]; p != nil && !p.met {
		return nil // first it says what it remembers of us
	}
	if c.order == nil || c.setBack {
		return nil
	}
	switch s := s.(type) {
	case *ordering.Raft:
		return c.heedRaft(d, s)
	case *ordering.Bully:
		return c.heedBully(d, s)
	case *ordering.Ack:
		c.heedAck(d, s)
	case *ordering.SealAsk, *ordering.SealOK, *ordering.CutWant, *ordering.CutHave:
		c.heedSeal(d, s)
	case *ordering.Standing:
	}
	return nil
}
