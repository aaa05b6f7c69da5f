package room

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"tertulia/ordering"
	"tertulia/ordering/control"
	"tertulia/ordering/linear"
)

// A peer that makes up where a final comes from, or another order, brings nothing:
// the snapshot has the hashes of both.
func TestAFinalListThatIsMadeUpIsNotInstalled(t *testing.T) {
	w := leaders(t, 3)
	w.run(time.Minute, func() bool { return w.ledBy(2) })
	for range 3 {
		w.nodes[0].say(line)
		w.nodes[0].drive()
	}
	if w.run(time.Second, func() bool { return w.allFinal(3) }); !w.allFinal(3) {
		t.Fatal("nothing becomes final")
	}
	from := w.nodes[1]
	var list []ordering.Listed
	for _, f := range from.finals {
		if f.Fate == linear.Shown {
			list = append(list, ordering.Listed{EntryID: f.ID, Source: f.Source})
		}
	}
	other := w.nodes[2].self
	for name, lie := range map[string]func(l []ordering.Listed){
		"truth":  func([]ordering.Listed) {},
		"order":  func(l []ordering.Listed) { l[0], l[1] = l[1], l[0] },
		"epoch":  func(l []ordering.Listed) { l[1].Epoch++ },
		"term":   func(l []ordering.Listed) { l[0].Term-- },
		"leader": func(l []ordering.Listed) { l[2].Leader = w.nodes[0].self },
		"late":   func(l []ordering.Listed) { l[2].Late = true },
		"nobody": func(l []ordering.Listed) { l[2].EntryID = ordering.EntryID{Origin: other, Seq: 99} },
	} {
		t.Run(name, func(t *testing.T) {
			// A replica that has the entries, and nothing of the order.
			c := New(Config{Room: w.nodes[0].core.cfg.Room, Self: from.self, Key: from.key}, Saved{})
			from.resume(c)
			state, err := linear.ParseState(from.core.order.list.State())
			if err != nil {
				t.Fatal(err)
			}
			sent := slices.Clone(list)
			lie(sent)
			in := &c.order.install
			*in = install{snap: control.Snapshot{Index: state.Applied, Term: 9}, state: state, busy: true, from: other.Device}
			c.FinalsPulled(w.now, other.Device, 1, sent[:2])
			c.FinalsPulled(w.now, other.Device, 3, sent[2:])
			c.FinalsEnded(w.now, other.Device, nil)
			c.finishInstall()
			got := c.ready.Install
			if name != "truth" {
				if got != nil || len(in.order) > 0 || in.failed != other.Device || !in.retryAt.After(w.now) {
					t.Errorf("installed %+v; %+v", got, in)
				}
				return
			}
			if got == nil || got.First != 1 || !slices.Equal(got.Order, list) || got.Hashes[2] != state.OrderHash || !bytes.Equal(got.Mark, state.Mark) {
				t.Errorf("installed %+v", got)
			}
		})
	}
}
