// Package invite reads and writes the links by which people are asked into a
// room: one line of text that survives being read aloud, wrapped by a mail
// program or typed in capitals.
//
//	tertulia:<base32 of version, room, secret, expiry, name, addresses, checksum>
package invite

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tertulia/chat"
	"tertulia/ordering"
)

// Limits of a link.
const (
	MaxPeers  = 4
	MaxAddrs  = 8    // of one peer
	maxAddr   = 255  // bytes
	maxLink   = 8192 // characters
	checksize = 4    // bytes
	version   = 1
	scheme    = "tertulia:"
)

// Link is what an invite says.
type Link struct {
	Room    ordering.RoomID
	Name    string    // the room's, for showing before it is joined
	Secret  [32]byte  // seed of the invite's Ed25519 key
	Expires time.Time // zero: never; whole milliseconds
	Peers   []Peer    // members that may be reachable, at most MaxPeers
}

// Peer is a member and where it listens.
type Peer struct {
	Device ordering.DeviceKey
	Addrs  []string // multiaddrs without the peer's id, at most MaxAddrs
}

// Key returns the invite's private key; the public half stands in the room.
func (l Link) Key() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(l.Secret[:]) }

// PublicKey returns the half that members know the invite by.
func (l Link) PublicKey() (k ordering.InviteKey) {
	copy(k[:], l.Key().Public().(ed25519.PublicKey))
	return k
}

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// String returns the link. Peers, addresses and names beyond the limits are left
// out.
func (l Link) String() string {
	b := []byte{version}
	b = append(b, l.Room[:]...)
	b = append(b, l.Secret[:]...)
	var expires int64
	if !l.Expires.IsZero() {
		expires = l.Expires.UnixMilli()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(expires))
	b = appendText(b, l.Name)
	peers := l.Peers[:min(len(l.Peers), MaxPeers)]
	b = append(b, byte(len(peers)))
	for _, p := range peers {
		b = append(b, p.Device[:]...)
		addrs := p.Addrs[:min(len(p.Addrs), MaxAddrs)]
		b = append(b, byte(len(addrs)))
		for _, a := range addrs {
			b = appendText(b, a)
		}
	}
	sum := sha256.Sum256(b)
	return scheme + strings.ToLower(encoding.EncodeToString(append(b, sum[:checksize]...)))
}

func appendText(b []byte, s string) []byte {
	for len(s) > maxAddr {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	b = append(b, byte(len(s)))
	return append(b, s...)
}

// Parse reads a link, however it was wrapped or capitalised. The error is a
// *chat.Error that tells a typo (CodeInvalid) from an expired invite
// (CodeExpired); with the latter the link is returned as well.
func Parse(s string, now time.Time) (Link, error) {
	mistyped := chat.Errorf(chat.CodeInvalid, "This invite is mistyped or incomplete.").
		WithHint("Copy the whole text that begins with %q and paste it again.", scheme)
	if len(s) > maxLink {
		return Link{}, mistyped
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return unicode.ToUpper(r)
	}, s)
	s, ok := strings.CutPrefix(s, strings.ToUpper(scheme))
	if !ok {
		return Link{}, chat.Errorf(chat.CodeInvalid, "This is not an invite.").
			WithHint("An invite begins with %q. Ask a member for one.", scheme)
	}
	b, err := encoding.DecodeString(strings.TrimPrefix(s, "//"))
	if err != nil || len(b) < checksize {
		return Link{}, mistyped
	}
	b, sum := b[:len(b)-checksize], b[len(b)-checksize:]
	if want := sha256.Sum256(b); !bytes.Equal(sum, want[:checksize]) {
		return Link{}, mistyped
	}
	if b[0] != version {
		return Link{}, chat.Errorf(chat.CodeInvalid, "This invite was made by a newer version.").
			WithHint("Update Tertulia and try again.")
	}
	l, ok := read(b[1:])
	if !ok {
		return Link{}, mistyped
	}
	if !l.Expires.IsZero() && !now.Before(l.Expires) {
		return l, chat.Errorf(chat.CodeExpired, "This invite expired on %s.", l.Expires.Local().Format("2 January 2006 at 15:04")).
			WithHint("Ask a member for a new one.")
	}
	return l, nil
}

// read decodes the part between version and checksum.
func read(b []byte) (l Link, ok bool) {
	take := func(n int) []byte {
		if n > len(b) {
			b, ok = nil, false
			return make([]byte, n)
		}
		v := b[:n]
		b = b[n:]
		return v
	}
	ok = true
	text := func() string { return string(take(int(take(1)[0]))) }
	copy(l.Room[:], take(len(l.Room)))
	copy(l.Secret[:], take(len(l.Secret)))
	if ms := int64(binary.BigEndian.Uint64(take(8))); ms < 0 {
		return l, false
	} else if ms > 0 {
		l.Expires = time.UnixMilli(ms)
	}
	l.Name = text()
	peers := int(take(1)[0])
	if peers > MaxPeers {
		return l, false
	}
	for range peers {
		var p Peer
		copy(p.Device[:], take(len(p.Device)))
		addrs := int(take(1)[0])
		if addrs > MaxAddrs {
			return l, false
		}
		for range addrs {
			p.Addrs = append(p.Addrs, text())
		}
		l.Peers = append(l.Peers, p)
	}
	return l, ok && len(b) == 0 && utf8.ValidString(l.Name) && l.Name != ""
}
