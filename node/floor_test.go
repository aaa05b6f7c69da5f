package node

import (
	"crypto/ed25519"
	"testing"

	"tertulia/ordering"
	"tertulia/ordering/control"
)

// floor is what no final latency in a room with a leader comes below: three control
// logs in one goroutine, without disk and network.
type floor struct {
	b     *testing.B
	three []*bare
	queue []passed
	batch *ordering.Batch
}

// bare is a control log without a disk, and up to where it was applied.
type bare struct {
	self ordering.Origin
	log  *control.Log
	at   uint64
}

// passed is a message from one to another.
type passed struct {
	from ordering.DeviceKey
	control.Envelope
}

// newFloor makes three logs that vote, the first of which leads, and a batch of one
// entry of 200 bytes.
func newFloor(b *testing.B) *floor {
	b.Helper()
	f := &floor{b: b}
	room := ordering.RoomID{1}
	var all []ordering.Origin
	for i := range 3 {
		r := &bare{self: ordering.Origin{Device: ordering.DeviceKey{byte(i + 1)}}, at: 1}
		all = append(all, r.self)
		cfg := control.Config{Room: room, Self: r.self, State: func() (uint64, []byte) { return r.at, nil }}
		r.log = must(control.Open(cfg, control.Found(room, all[0], nil)))(b)
		f.three = append(f.three, r)
	}
	leader := f.three[0].log
	leader.Campaign()
	f.settle()
	for _, ch := range []control.Change{{Learn: all[1:]}, {Promote: all[1:]}} {
		leader.ProposeChange(ch)
		for f.settle(); leader.Status().ConfPending; f.settle() {
			leader.Tick()
		}
	}
	if n := len(leader.Status().Conf.Voters); n != len(all) {
		b.Fatalf("%d vote", n)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	author := ordering.Origin{Device: ordering.DeviceKey(key.Public().(ed25519.PublicKey))}
	e := ordering.Seal(ordering.Entry{Origin: author, Room: room, Seq: 1, TS: 1, Kind: ordering.KindMessage, Body: make([]byte, 200)})
	f.batch = &ordering.Batch{Epoch: 1, Leader: all[0], Runs: []ordering.Run{ordering.SignRun(key, e).Run()}}
	return f
}

// finalise proposes the batch; all three have applied it then.
func (f *floor) finalise() {
	f.b.Helper()
	leader := f.three[0]
	if !leader.log.Propose(f.batch) {
		f.b.Fatal("dropped")
	}
	f.settle()
	for _, r := range f.three {
		if r.at != leader.at {
			f.b.Fatalf("at %d of %d", r.at, leader.at)
		}
		if r.at%4096 == 0 {
			r.log.Compact(r.at - 64)
		}
	}
}

// settle passes messages on until there are none.
func (f *floor) settle() {
	f.b.Helper()
	for f.drain(f.three[0]); len(f.queue) > 0; {
		p := f.queue[0]
		f.queue = f.queue[1:]
		for _, r := range f.three {
			if r.self == p.To {
				if err := r.log.Step(p.from, p.Data); err != nil {
					f.b.Fatal(err)
				}
				f.drain(r)
			}
		}
	}
}

func (f *floor) drain(r *bare) {
	for {
		ready, ok := r.log.Ready()
		if !ok {
			return
		}
		for _, m := range ready.Messages {
			f.queue = append(f.queue, passed{r.self.Device, m})
		}
		if n := len(ready.Committed); n > 0 {
			r.at = ready.Committed[n-1].Index
			r.log.LinApplied(r.at)
		}
		r.log.Advance()
	}
}
