package node

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"time"

	"tertulia/chat"
	"tertulia/ordering"
	"tertulia/storage"
)

// How far people have read and who is writing: told beside the log, out of
// courtesy. A receipt is signed by the person and the device, so members pass on
// what others told them; who is writing is told first hand alone.

// Limits of what is told of people.
const (
	maxReaders       = 1024            // persons whose receipts a room keeps
	maxReadersDevice = 16              // of these, of one device
	maxEarly         = 256             // receipts of devices whose admission is not here yet
	receiptsEvery    = time.Second     // between two tellings, in a room
	typingEvery      = 3 * time.Second // between two tellings that somebody writes
	typingLasts      = 6 * time.Second // after the last one
)

// readerKey is a person of a device.
type readerKey struct {
	device ordering.DeviceKey
	person ordering.PersonKey
}

// receipt is one that is known, and when that was so.
type receipt struct {
	ordering.Receipt
	version uint64             // rises with every receipt taken
	from    ordering.DeviceKey // who brought it
}

// people is what a room knows of people beside the log. The room's goroutine owns
// it; it is told the time.
type people struct {
	receipts map[readerKey]receipt
	owner    map[ordering.PersonKey]ordering.DeviceKey
	early    map[readerKey]receipt // of devices that are no members yet, by what is known here
	version  uint64
	unkept   []ordering.Receipt            // not on disk yet
	told     map[ordering.DeviceKey]uint64 // version up to which a peer was told
	due      time.Time                     // of the next telling; zero: nothing to tell
	last     time.Time                     // of the last one

	typing map[ordering.DeviceKey]typist
	typed  time.Time // when others were told last that somebody writes here
}

// typist is who writes at a device.
type typist struct {
	ordering.Typing
	until time.Time
}

func newPeople() people {
	return people{
		receipts: make(map[readerKey]receipt), early: make(map[readerKey]receipt), owner: make(map[ordering.PersonKey]ordering.DeviceKey),
		told: make(map[ordering.DeviceKey]uint64), typing: make(map[ordering.DeviceKey]typist),
	}
}

// take notes a receipt that was verified, if it says more than was known and its
// device has not too many.
func (p *people) take(now time.Time, from ordering.DeviceKey, r ordering.Receipt) {
	key := readerKey{r.Device, r.Person}
	old, known := p.receipts[key]
	if r.UpTo <= old.UpTo || !known && !p.hasPlace(r.Device) {
		return
	}
	p.version++
	p.receipts[key] = receipt{r, p.version, from}
	p.owner[r.Person] = r.Device
	p.unkept = append(p.unkept, r)
	p.plan(now)
}

// hold keeps a receipt that was verified until its device is a member: who brought
// it does not bring it again.
func (p *people) hold(from ordering.DeviceKey, r ordering.Receipt) {
	key := readerKey{r.Device, r.Person}
	if old, known := p.early[key]; r.UpTo > old.UpTo && (known || len(p.early) < maxEarly) {
		p.early[key] = receipt{Receipt: r, from: from}
	}
}

// admit takes what was held of those who are members now.
func (p *people) admit(now time.Time, member map[ordering.DeviceKey]bool) {
	for key, r := range p.early {
		if member[key.device] {
			delete(p.early, key)
			p.take(now, r.from, r.Receipt)
		}
	}
}

func (p *people) hasPlace(d ordering.DeviceKey) bool {
	count := 0
	for k := range p.receipts {
		if k.device == d {
			count++
		}
	}
	return count < maxReadersDevice && len(p.receipts) < maxReaders
}

// plan has the next telling come in its time.
func (p *people) plan(now time.Time) {
	if p.due.IsZero() {
		p.due = now
		if next := p.last.Add(receiptsEvery); next.After(now) {
			p.due = next
		}
	}
}

// again has everybody told anew of all receipts: what was hidden may be told now.
func (p *people) again(now time.Time) {
	clear(p.told)
	p.plan(now)
}

// writes notes that a person of a device is writing.
func (p *people) writes(now time.Time, d ordering.DeviceKey, t ordering.Typing) {
	if owner, known := p.owner[t.Person]; known && owner != d {
		return // another device's person
	}
	p.typing[d] = typist{t, now.Add(typingLasts)}
}

// wrote notes that a person's words have come.
func (p *people) wrote(d ordering.DeviceKey, key ordering.PersonKey) {
	if p.typing[d].Person == key {
		delete(p.typing, d)
	}
}

// expire forgets who has stopped writing.
func (p *people) expire(now time.Time) {
	maps.DeleteFunc(p.typing, func(_ ordering.DeviceKey, t typist) bool { return !now.Before(t.until) })
}

// deadline is when people is next of use.
func (p *people) deadline() time.Time {
	next := p.due
	for _, t := range p.typing {
		if next.IsZero() || t.until.Before(next) {
			next = t.until
		}
	}
	return next
}

// news returns what a peer is to be told next, at most ordering.MaxReceipts, and
// whether there is more. What it brought itself, and what it hears from the device
// it is of, is left out, and so is what hidden says.
func (p *people) news(d ordering.DeviceKey, hears []ordering.DeviceKey, self ordering.DeviceKey, hidden func(*ordering.Receipt) bool) (list []ordering.Receipt, more bool) {
	if p.told[d] == p.version {
		return nil, false
	}
	var fresh []receipt
	for _, r := range p.receipts {
		if r.version > p.told[d] {
			fresh = append(fresh, r)
		}
	}
	slices.SortFunc(fresh, func(a, b receipt) int { return cmp.Compare(a.version, b.version) })
	for i := range fresh {
		r := &fresh[i]
		if len(list) == ordering.MaxReceipts {
			return list, true
		}
		p.told[d] = r.version
		if r.from != d && r.Device != d && (r.Device == self || !slices.Contains(hears, r.Device)) && !hidden(&r.Receipt) {
			list = append(list, r.Receipt)
		}
	}
	return list, false
}

// readers lists how far persons have read, by name.
func (p *people) readers() []reader {
	var list []reader
	for k, r := range p.receipts {
		list = append(list, reader{person: k.person, Reader: chat.Reader{Person: personOf(k.person, r.Name), UpTo: r.UpTo}})
	}
	slices.SortFunc(list, func(a, b reader) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), bytes.Compare(a.person[:], b.person[:]), cmp.Compare(b.UpTo, a.UpTo))
	})
	return slices.CompactFunc(list, func(a, b reader) bool { return a.person == b.person }) // the furthest stays
}

// reader is a person's receipt as it is shown.
type reader struct {
	person ordering.PersonKey
	chat.Reader
}

// writing lists who writes just now, by name.
func (p *people) writing() []chat.Person {
	var list []chat.Person
	for _, t := range p.typing {
		list = append(list, personOf(t.Person, t.Name))
	}
	slices.SortFunc(list, func(a, b chat.Person) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return list
}

func personOf(key ordering.PersonKey, name string) chat.Person {
	id := hex.EncodeToString(key[:8])
	clean, err := cleanName("A name", name)
	if err != nil {
		clean = id
	}
	return chat.Person{Name: clean, ID: id}
}

// loadPeople reads the receipts on disk.
func (r *room) loadPeople(ctx context.Context) error {
	kept, err := r.n.store.Receipts(ctx, r.id)
	for _, k := range kept {
		r.people.take(time.Time{}, r.n.id.origin.Device, k)
	}
	r.people.unkept, r.people.due = nil, time.Time{}
	return err
}

// heard takes what a member tells of people. It is called on that peer's
// goroutine: signatures are verified here, of what says more than is known.
func (r *room) heard(d ordering.DeviceKey, m *ordering.Ephemeral) {
	v := r.view.Load()
	if !v.eligible(d) {
		r.n.count(ordering.NotMember)
		return
	}
	typing := m.Typing
	if !v.member[d] {
		typing = nil
	}
	var good []ordering.Receipt
	for _, x := range m.Receipts {
		switch {
		case x.UpTo <= v.read[readerKey{x.Device, x.Person}] || x.Device == r.n.id.origin.Device:
		case v.former(x.Device):
			r.n.count(ordering.NotMember)
		case !x.Verify(r.id):
			r.n.count(ordering.BadSignature)
		default:
			good = append(good, x)
		}
	}
	if len(good) == 0 && typing == nil {
		return
	}
	r.hint(func() {
		now := time.Now()
		for _, x := range good {
			if r.core.Graph().IsMember(x.Device) {
				r.people.take(now, d, x)
			} else {
				r.people.hold(d, x)
			}
		}
		if typing != nil {
			r.people.writes(now, d, *typing)
		}
	})
}

// tellPeople does what is due for people: it makes new receipts durable, then
// tells them to the members that are connected.
func (r *room) tellPeople(now time.Time) {
	p := &r.people
	p.expire(now)
	if p.due.IsZero() || now.Before(p.due) {
		return
	}
	p.due, p.last = time.Time{}, now
	r.noteOwnReading(now)
	if len(p.unkept) > 0 {
		if err := r.n.store.Commit(context.WithoutCancel(r.ctx), &storage.Write{Room: r.id, Read: p.unkept}); err != nil {
			r.log.Warn("could not keep how far was read", "error", err)
			p.plan(now)
			return
		}
		p.unkept = nil
		r.readers = p.readers()
	}
	hidden := func(*ordering.Receipt) bool { return false }
	if own, ok := r.n.profile(); ok && r.settings.HideRead {
		hidden = func(x *ordering.Receipt) bool { return x.Person == own.person && x.Device == r.n.id.origin.Device }
	}
	sharing := r.n.sharing(r.id)
	p.due = time.Time{} // what noteOwnReading found is told now
	for d := range r.peers {
		list, more := p.news(d, sharing[d].vital.Hears, r.n.id.origin.Device, hidden)
		if len(list) > 0 {
			r.n.net.Send(d, r.id, &ordering.Ephemeral{Receipts: list})
		}
		if more {
			p.plan(now)
		}
	}
}

// profile is the person of this node's window.
type profile struct {
	name   string
	key    ed25519.PrivateKey
	person ordering.PersonKey
}

// profile returns the window's person, if one was chosen and has a key.
func (n *Node) profile() (p profile, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p.name = n.username
	if p.key, ok = n.clients[p.name]; !ok || p.name == "" {
		return profile{}, false
	}
	p.person = personKey(p.key)
	return p, true
}

func personKey(key ed25519.PrivateKey) (p ordering.PersonKey) {
	copy(p[:], key.Public().(ed25519.PublicKey))
	return p
}

// noteOwnReading makes the receipt of the window's person, who also reads on when
// something read in the tail becomes final.
func (r *room) noteOwnReading(now time.Time) {
	own, ok := r.n.profile()
	if !ok || r.settings.HideRead || !r.core.Graph().IsMember(r.n.id.origin.Device) {
		return
	}
	upTo, err := r.n.store.ReadUpTo(r.ctx, r.id)
	if err != nil {
		r.log.Warn("could not read how far was read", "error", err)
		return
	}
	r.confirm(now, own.key, own.name, upTo)
}

// confirm takes a person's own receipt.
func (r *room) confirm(now time.Time, key ed25519.PrivateKey, name string, upTo uint64) {
	device := r.n.id.origin.Device
	if upTo > r.people.receipts[readerKey{device, personKey(key)}].UpTo {
		r.people.take(now, device, ordering.SignReceipt(r.n.id.key, key, r.id, name, upTo))
	}
}

// ConfirmRead says that a person has read a room up to a final message. It never
// goes back.
func (n *Node) ConfirmRead(ctx context.Context, ref, username, id string) error {
	r, err := n.find(ref)
	if err != nil {
		return err
	}
	name, err := n.author(username)
	if err != nil {
		return err
	}
	row, err := n.row(ctx, r, id)
	if err != nil {
		return err
	}
	if row.Final.Index == 0 {
		return chat.Errorf(chat.CodeBusy, "The message is not final yet.").WithHint("Confirm it when it is: until then it may stand elsewhere.")
	}
	key, err := n.clientKey(ctx, name)
	if err != nil {
		return err
	}
	if own, ok := n.profile(); ok && own.name == name {
		return n.MarkRead(ctx, ref, hex.EncodeToString(row.Place()))
	}
	if !r.view.Load().self {
		return chat.Errorf(chat.CodeForbidden, "This device is not a member of %s.", r.view.Load().meta.Name).WithHint("Ask a member for a new invite.")
	}
	return r.post(ctx, func() { r.confirm(time.Now(), key, name, row.Final.Index) })
}

// Typing says that the window's person is writing in a room just now. Members
// that are connected hear of it once in a while.
func (n *Node) Typing(ctx context.Context, ref string) error {
	r, err := n.find(ref)
	if err != nil {
		return err
	}
	n.mu.Lock()
	name := n.username
	n.mu.Unlock()
	if name == "" {
		return nil // nobody has said who it is
	}
	key, err := n.clientKey(ctx, name)
	if err != nil {
		return err
	}
	r.hint(func() {
		if now := time.Now(); now.Sub(r.people.typed) >= typingEvery && r.core.Graph().IsMember(r.n.id.origin.Device) {
			r.people.typed = now
			for d := range r.peers {
				n.net.Send(d, r.id, &ordering.Ephemeral{Typing: &ordering.Typing{Person: personKey(key), Name: name}})
			}
		}
	})
	return nil
}

// Readers tells how far persons have read a room, by name.
func (n *Node) Readers(_ context.Context, ref string) ([]chat.Reader, error) {
	r, err := n.find(ref)
	if err != nil {
		return nil, err
	}
	return r.view.Load().readersBut(ordering.PersonKey{}), nil
}

// readersBut lists the readers without one.
func (v *roomView) readersBut(one ordering.PersonKey) []chat.Reader {
	var list []chat.Reader
	for _, x := range v.readers {
		if x.person != one {
			list = append(list, x.Reader)
		}
	}
	return list
}

// confirmations looked through and told of.
const (
	confirmedAmong = 200
	confirmedMost  = 20
)

// Confirmations tells who has read a message or, without an id, each of the newest
// final messages of a person of this node, oldest first.
func (n *Node) Confirmations(ctx context.Context, ref, username, id string) ([]chat.Confirmation, error) {
	r, err := n.find(ref)
	if err != nil {
		return nil, err
	}
	if id != "" {
		row, err := n.row(ctx, r, id)
		if err != nil {
			return nil, err
		}
		m := n.messageOf(r, row)
		return []chat.Confirmation{{Message: m, Readers: readersOf(r.view.Load(), m)}}, nil
	}
	name, err := n.author(username)
	if err != nil {
		return nil, err
	}
	rows, err := n.store.Finals(ctx, r.id, r.view.Load().order.FinalIndex-min(r.view.Load().order.FinalIndex, confirmedAmong), confirmedAmong)
	if err != nil {
		return nil, err
	}
	var list []chat.Confirmation
	for _, m := range n.messagesOf(r, rows) {
		if m.Mine && m.Sender == name && m.Kind == chat.KindText {
			list = append(list, chat.Confirmation{Message: m, Readers: readersOf(r.view.Load(), m)})
		}
	}
	return list[max(0, len(list)-confirmedMost):], nil
}

// readersOf lists who has read a message, its sender excepted.
func readersOf(v *roomView, m chat.Message) []chat.Person {
	var list []chat.Person
	for _, x := range v.readers {
		if m.Index > 0 && x.UpTo >= m.Index && x.ID != m.SenderID {
			list = append(list, x.Person)
		}
	}
	return list
}

// tellReading has the window's person's receipt looked at again.
func (r *room) tellReading() { r.people.plan(time.Now()) }

// markedRead is called when a window has moved its mark.
func (n *Node) markedRead(ctx context.Context, r *room) error {
	n.mu.Lock()
	name := n.username
	n.mu.Unlock()
	if name == "" {
		return nil
	}
	if _, err := n.clientKey(ctx, name); err != nil {
		return err
	}
	err := r.post(ctx, r.tellReading)
	if errors.Is(err, errStopping) {
		return nil // it is on disk
	}
	return err
}
