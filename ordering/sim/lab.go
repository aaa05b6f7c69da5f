package sim

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/room"
)

// invite is the room's open invite.
var invite = ordering.InviteKey{1}

// Lab keeps what many worlds share and what is dear to make: keys, founding
// entries and clients' stamps. It holds no state of a world. One goroutine at a
// time uses it.
type Lab struct {
	devices []ed25519.PrivateKey
	people  []ed25519.PrivateKey
	stamps  map[stampOf]*ordering.Stamp
	genes   map[foundingOf]ordering.Verified
}

type stampOf struct {
	room   ordering.RoomID
	node   ordering.DeviceKey
	person int
	text   string
}

type foundingOf struct {
	creator, number int
	mode            ordering.Mode
}

// maxStamps bounds the memory of a Lab: beyond, stamps are made anew.
const maxStamps = 100_000

// NewLab returns a Lab.
func NewLab() *Lab {
	l := &Lab{stamps: make(map[stampOf]*ordering.Stamp), genes: make(map[foundingOf]ordering.Verified)}
	for i := range MaxCrowd {
		l.devices = append(l.devices, keyOf(byte(1+i)))
	}
	for i := range 3 {
		l.people = append(l.people, keyOf(byte(101+i)))
	}
	return l
}

func keyOf(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

func nodeName(number int) string { return fmt.Sprintf("node%d", number) }

// origin returns the device of a place in the world, in its nth instance.
func (l *Lab) origin(i, instance int) ordering.Origin {
	o := ordering.Origin{Instance: ordering.Instance{byte(1 + instance)}}
	copy(o.Device[:], l.devices[i].Public().(ed25519.PublicKey))
	return o
}

// genesis returns the founding entry of the room that the given node creates. It
// is the same in all worlds.
func (l *Lab) genesis(creator, number int, mode ordering.Mode) (ordering.Verified, ordering.RoomID) {
	k := foundingOf{creator, number, mode}
	g, ok := l.genes[k]
	if !ok {
		g = room.Found(l.origin(creator, 0), l.devices[creator],
			ordering.Genesis{Name: "room", Mode: mode, NodeName: nodeName(number), Invite: invite}, time.Unix(1_000_000, 0))
		l.genes[k] = g
	}
	return g, ordering.RoomID(g.Run().Last().Hash())
}

// stamp returns the client's signature on a text.
func (l *Lab) stamp(r ordering.RoomID, node ordering.DeviceKey, person int, text string) *ordering.Stamp {
	k := stampOf{r, node, person, text}
	s, ok := l.stamps[k]
	if !ok {
		if len(l.stamps) >= maxStamps {
			clear(l.stamps)
		}
		s = ordering.SignClient(l.people[person], r, 0, node, text, []byte(text))
		l.stamps[k] = s
	}
	return s
}
