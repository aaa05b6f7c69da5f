package ordering

import (
	"errors"
	"unicode/utf8"
)

// Limits of bodies.
const (
	MaxName        = 256 // bytes of a user, node or room name (64 characters)
	MaxMembers     = 512 // devices in a room; what one KeyGrant can serve
	KeyIDSize      = 8
	SealedKeySize  = 32 + 32 + 16 // an anonymous box around a room key
	SaltSize       = 16
	bodyVersion    = 1
	roomKeyWrapped = DeviceSize + SealedKeySize
)

// Mode is a room's order.
type Mode uint8

// The modes.
const (
	Lamport Mode = 1
	Leader  Mode = 2
)

// InviteKey is the public key of an invite; who knows its private half may ask
// to be admitted.
type InviteKey [32]byte

// Genesis begins a room. Its author is the creator.
type Genesis struct {
	Name     string // of the room
	Mode     Mode
	NodeName string    // the creator's node id
	Invite   InviteKey // an invite without limits
	Salt     [SaltSize]byte
}

// Admit makes a device a member.
type Admit struct {
	Device DeviceKey
	Invite InviteKey
	Name   string // its node id
}

// Invite lets a further key admit. Zero means no limit.
type Invite struct {
	Key       InviteKey
	ExpiresMS int64 // Unix time; judged by the clock of whoever admits
	Uses      uint32
}

// Revoke ends an invite.
type Revoke struct{ Key InviteKey }

// Remove ends a device's membership.
type Remove struct{ Device DeviceKey }

// Switch asks for another order of the room, once it is final itself. Its author is
// the creator.
type Switch struct{ Mode Mode }

// Title gives the room another name. Its author is the creator; the last one in the
// final order holds.
type Title struct{ Name string }

// KeyID names a room key: the first bytes of its hash.
type KeyID [KeyIDSize]byte

// SealedKey is a room key that one device can open.
type SealedKey struct {
	Device DeviceKey
	Box    [SealedKeySize]byte
}

// KeyGrant hands a new room key to each member.
type KeyGrant struct {
	ID   KeyID
	Keys []SealedKey
}

// Payload is the plaintext of a sealed body. Its hash is what the client signs;
// the salt keeps those who hold no key from guessing short texts by that hash.
type Payload struct {
	Salt    [SaltSize]byte
	Name    string   // the person's
	ReplyTo *EntryID // nil: answers nothing
	Text    string
}

var errBody = errors.New("ordering: body is malformed")

// Encode returns the body's bytes.
func (g Genesis) Encode() []byte {
	e := body()
	e.str(g.Name)
	e.u8(uint8(g.Mode))
	e.str(g.NodeName)
	e.raw(g.Invite[:])
	e.raw(g.Salt[:])
	return e.b
}

// DecodeGenesis reads what Encode wrote.
func DecodeGenesis(b []byte) (g Genesis, err error) {
	d := openBody(b)
	g.Name = d.name()
	g.Mode = Mode(d.u8())
	g.NodeName = d.name()
	g.Invite = InviteKey(d.hash())
	copy(g.Salt[:], d.raw(SaltSize))
	if g.Mode != Lamport && g.Mode != Leader {
		d.fail(errBody)
	}
	return g, d.end()
}

// Encode returns the body's bytes.
func (a Admit) Encode() []byte {
	e := body()
	e.raw(a.Device[:])
	e.raw(a.Invite[:])
	e.str(a.Name)
	return e.b
}

// DecodeAdmit reads what Encode wrote.
func DecodeAdmit(b []byte) (a Admit, err error) {
	d := openBody(b)
	a.Device = d.key()
	a.Invite = InviteKey(d.hash())
	a.Name = d.name()
	return a, d.end()
}

// Encode returns the body's bytes.
func (i Invite) Encode() []byte {
	e := body()
	e.raw(i.Key[:])
	e.u64(uint64(i.ExpiresMS))
	e.u32(i.Uses)
	return e.b
}

// DecodeInvite reads what Encode wrote.
func DecodeInvite(b []byte) (i Invite, err error) {
	d := openBody(b)
	i.Key = InviteKey(d.hash())
	i.ExpiresMS = int64(d.u64())
	i.Uses = d.u32()
	return i, d.end()
}

// Encode returns the body's bytes.
func (r Revoke) Encode() []byte {
	e := body()
	e.raw(r.Key[:])
	return e.b
}

// DecodeRevoke reads what Encode wrote.
func DecodeRevoke(b []byte) (r Revoke, err error) {
	d := openBody(b)
	r.Key = InviteKey(d.hash())
	return r, d.end()
}

// Encode returns the body's bytes.
func (r Remove) Encode() []byte {
	e := body()
	e.raw(r.Device[:])
	return e.b
}

// DecodeRemove reads what Encode wrote.
func DecodeRemove(b []byte) (r Remove, err error) {
	d := openBody(b)
	r.Device = d.key()
	return r, d.end()
}

// Encode returns the body's bytes.
func (s Switch) Encode() []byte {
	e := body()
	e.u8(uint8(s.Mode))
	return e.b
}

// DecodeSwitch reads what Encode wrote.
func DecodeSwitch(b []byte) (s Switch, err error) {
	d := openBody(b)
	s.Mode = Mode(d.u8())
	if s.Mode != Lamport && s.Mode != Leader {
		d.fail(errBody)
	}
	return s, d.end()
}

// Encode returns the body's bytes.
func (t Title) Encode() []byte {
	e := body()
	e.str(t.Name)
	return e.b
}

// DecodeTitle reads what Encode wrote.
func DecodeTitle(b []byte) (t Title, err error) {
	d := openBody(b)
	t.Name = d.name()
	return t, d.end()
}

// Encode returns the body's bytes.
func (g KeyGrant) Encode() []byte {
	e := body()
	e.raw(g.ID[:])
	e.u16(uint16(len(g.Keys)))
	for _, k := range g.Keys {
		e.raw(k.Device[:])
		e.raw(k.Box[:])
	}
	return e.b
}

// DecodeKeyGrant reads what Encode wrote.
func DecodeKeyGrant(b []byte) (g KeyGrant, err error) {
	d := openBody(b)
	copy(g.ID[:], d.raw(KeyIDSize))
	n := int(d.u16())
	if n > MaxMembers || n*roomKeyWrapped != len(d.b) {
		return g, errBody
	}
	g.Keys = make([]SealedKey, n)
	for i := range g.Keys {
		g.Keys[i].Device = d.key()
		copy(g.Keys[i].Box[:], d.raw(SealedKeySize))
	}
	return g, d.end()
}

// Encode returns the payload's bytes, which the client signs and the node seals.
func (p Payload) Encode() []byte {
	e := body()
	e.raw(p.Salt[:])
	e.str(p.Name)
	e.flag(p.ReplyTo != nil)
	if p.ReplyTo != nil {
		e.origin(p.ReplyTo.Origin)
		e.u64(p.ReplyTo.Seq)
	}
	e.str(p.Text)
	return e.b
}

// DecodePayload reads what Encode wrote. Name and Text are valid UTF-8.
func DecodePayload(b []byte) (p Payload, err error) {
	d := openBody(b)
	copy(p.Salt[:], d.raw(SaltSize))
	p.Name = d.name()
	if d.flag() {
		p.ReplyTo = &EntryID{Origin: d.origin(), Seq: d.u64()}
	}
	p.Text = d.str(MaxText)
	if !utf8.ValidString(p.Text) {
		d.fail(errBody)
	}
	return p, d.end()
}

func body() *encoder { return &encoder{b: []byte{bodyVersion}} }

func openBody(b []byte) *decoder {
	d := &decoder{b: b}
	if d.u8() != bodyVersion {
		d.fail(errBody)
	}
	return d
}

func (d *decoder) name() string {
	s := d.str(MaxName)
	if !utf8.ValidString(s) || s == "" {
		d.fail(errBody)
	}
	return s
}
