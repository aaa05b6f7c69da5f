package client

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	pb "tertulia/api/tertulia/v1"
	"tertulia/chat"
)

// maxAnnounced is how many messages that are not final yet a Cursor remembers.
// Those that were tentative beyond it may come as tentative again on another
// node.
const maxAnnounced = 100_000

// Cursor is how far a client has come with a room. The zero Cursor has read
// nothing. It goes from one Stream to the next, also of another node, and is for
// one at a time.
type Cursor struct {
	begun bool
	index uint64 // finals up to it were read, or are not wanted

	// What was tentative when it was read and is not final yet: another node may
	// offer it again. The repeats of one message go together.
	announced map[string]clientKey
	repeats   map[clientKey][]string

	// Places in the tentative order, which count on one node only.
	peerID   string
	arrival  uint64
	position string
	walked   bool
}

// clientKey is equal for repeats of a message: a digest of who said it, the
// client id and the text.
type clientKey [16]byte

func keyOf(m chat.Message) clientKey {
	h := sha256.New()
	for _, s := range []string{m.SenderID, m.ClientID, m.Text} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	if m.ClientID == "" { // repeats nothing
		h.Write([]byte(m.ID))
	}
	return clientKey(h.Sum(nil)[:16])
}

// Index returns the index of the newest final message read, or of the one before
// the first that is wanted.
func (c *Cursor) Index() uint64 { return c.index }

// request returns c as the service takes it, nil for a new one.
func (c *Cursor) request() *pb.Cursor {
	if !c.begun {
		return nil
	}
	return &pb.Cursor{Arrival: c.arrival, Position: []byte(c.position), Walked: c.walked, PeerId: c.peerID, Index: c.index}
}

// attach notes where a stream begins.
func (c *Cursor) attach(peerID string, arrival, index uint64) {
	if c.peerID != peerID {
		c.peerID, c.position, c.walked = peerID, "", false
	}
	c.arrival = arrival
	if !c.begun {
		c.begun, c.index = true, index
		c.announced, c.repeats = make(map[string]clientKey), make(map[clientKey][]string)
	}
}

// fresh reports whether m is still to be read. The error says that m cannot come
// now.
func (c *Cursor) fresh(m chat.Message) (bool, error) {
	if m.State != chat.Final {
		_, known := c.announced[m.ID]
		return !known, nil
	}
	if m.Index > c.index+1 {
		return false, chat.Errorf(chat.CodeInternal, "The node left out the final messages between %d and %d.", c.index, m.Index)
	}
	return m.Index > c.index, nil
}

// read notes that m was read. What had arrived by the mark came in predicted
// order.
func (c *Cursor) read(m chat.Message, mark uint64) {
	if m.State == chat.Final {
		for _, id := range c.settledBy(m) {
			c.forget(id)
		}
		c.index = m.Index
		return
	}
	if len(c.announced) < maxAnnounced {
		key := keyOf(m)
		c.announced[m.ID] = key
		c.repeats[key] = append(c.repeats[key], m.ID)
	}
	if m.Arrival > mark {
		c.arrival, c.walked = m.Arrival, true
	} else {
		c.position = m.Position
	}
}

// settledBy returns the ids that need not be remembered once m is final: its own
// and those of its repeats.
func (c *Cursor) settledBy(m chat.Message) []string {
	ids := slices.Clone(c.repeats[keyOf(m)])
	if _, ok := c.announced[m.ID]; ok && !slices.Contains(ids, m.ID) {
		ids = append(ids, m.ID) // its text was not readable then
	}
	return ids
}

// forget drops a message that is announced.
func (c *Cursor) forget(id string) {
	key := c.announced[id]
	delete(c.announced, id)
	c.repeats[key] = slices.DeleteFunc(c.repeats[key], func(o string) bool { return o == id })
	if len(c.repeats[key]) == 0 {
		delete(c.repeats, key)
	}
}
