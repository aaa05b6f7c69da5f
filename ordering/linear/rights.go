package linear

import "tertulia/ordering"

// rights says whose entries count in the final order. Whether an entry is
// accepted was judged in its causal past; what it does is judged by what was
// emitted before it, so of two mutual removals the first wins (PROTOCOL.md 1,
// Removal).
type rights struct {
	creator  ordering.DeviceKey
	admitted map[ordering.DeviceKey]bool // and not removed
	removed  map[ordering.DeviceKey]bool // for good
	coded    []byte                      // what encode gives; nil after a change
}

func newRights() rights {
	return rights{admitted: make(map[ordering.DeviceKey]bool), removed: make(map[ordering.DeviceKey]bool)}
}

// void reports whether what the device writes has no effect from here on. All of
// it that a removal knew of was emitted before the removal, and an admission
// before what the admitted device wrote.
func (r *rights) void(d ordering.DeviceKey) bool { return !r.admitted[d] }

// room reports whether the limit leaves room for another device.
func (r *rights) room() bool { return len(r.admitted)+len(r.removed) < MaxDevices }

// act lets an entry take effect. The graph checked its body. To leave voids
// nothing: one's own words before it count.
func (r *rights) act(e *ordering.Entry) {
	switch e.Kind {
	case ordering.KindAdmit:
		a, err := ordering.DecodeAdmit(e.Body)
		if err == nil && !r.removed[a.Device] && r.room() {
			r.admitted[a.Device] = true
			r.coded = nil
		}
	case ordering.KindRemove:
		m, err := ordering.DecodeRemove(e.Body)
		if err == nil && e.Origin.Device == r.creator && (r.admitted[m.Device] || r.room()) {
			delete(r.admitted, m.Device)
			r.removed[m.Device] = true
			r.coded = nil
		}
	case ordering.KindGenesis, ordering.KindInvite, ordering.KindRevoke, ordering.KindLeave, ordering.KindKey, ordering.KindNull,
		ordering.KindMessage, ordering.KindJoined, ordering.KindLeft, ordering.KindRenamed, ordering.KindSwitch, ordering.KindTitle:
	}
}
