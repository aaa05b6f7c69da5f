package control

import (
	"crypto/sha256"
	"encoding/binary"

	"tertulia/ordering"
	"tertulia/ordering/mutant"
)

const seatDomain = "tertulia seat v1\x00"

// seat returns the raft id of an origin in the room: never zero, below 2^63 and
// so none of raft's local targets. A wiped disk is another instance and hence
// another seat; nobody can take a seat that its device does not own.
func (c Config) seat(o ordering.Origin) uint64 {
	if c.Mutant == mutant.SeatOfDevice {
		o.Instance = ordering.Instance{}
	}
	h := sha256.New()
	h.Write([]byte(seatDomain))
	h.Write(c.Room[:])
	h.Write(o.Bytes())
	return max(binary.BigEndian.Uint64(h.Sum(nil))>>1, 1)
}

// maxMet is the number of seats outside the Conf that a Log can answer: a
// replica that slept through changes of the voters hears from leaders it has
// never heard of.
const maxMet = 64

// directory says whose a seat is.
type directory struct {
	seated map[uint64]ordering.Origin // of the Conf
	met    map[uint64]ordering.Origin // others that wrote to us
	order  []uint64                   // of met, oldest first
}

func (c Config) directory(conf Conf) directory {
	d := directory{seated: map[uint64]ordering.Origin{}, met: map[uint64]ordering.Origin{}}
	d.seat(c, conf)
	return d
}

// seat replaces the seats of the Conf.
func (d *directory) seat(c Config, conf Conf) {
	clear(d.seated)
	for _, list := range [][]ordering.Origin{conf.Voters, conf.Outgoing, conf.Learners} {
		for _, o := range list {
			d.seated[c.seat(o)] = o
		}
	}
}

// meet remembers who proved to own a seat.
func (d *directory) meet(id uint64, o ordering.Origin) {
	if _, ok := d.met[id]; ok {
		return
	}
	if len(d.order) == maxMet {
		delete(d.met, d.order[0])
		d.order = d.order[1:]
	}
	d.met[id] = o
	d.order = append(d.order, id)
}

func (d *directory) owner(id uint64) (ordering.Origin, bool) {
	if o, ok := d.seated[id]; ok {
		return o, true
	}
	o, ok := d.met[id]
	return o, ok
}
