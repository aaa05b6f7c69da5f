// Package discovery finds where peers are: addresses in an invite or remembered
// from an earlier run, addresses that members pass on under the signature of
// those they belong to, the local network (mDNS), and a DHT of our own.
//
// It fills the host's address book and dials nobody.
package discovery

import (
	"errors"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Limits on addresses.
const (
	MaxAddrs     = 256 // full addresses in one list
	maxPeerAddrs = 32  // of one peer
)

// Infos reads full multiaddrs, those with /p2p/, and groups them by peer, in the
// order they come.
func Infos(addrs []string) ([]peer.AddrInfo, error) {
	if len(addrs) > MaxAddrs {
		return nil, fmt.Errorf("discovery: more than %d addresses", MaxAddrs)
	}
	var infos []peer.AddrInfo
	for _, a := range addrs {
		info, err := read(a)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(infos, func(x peer.AddrInfo) bool { return x.ID == info.ID })
		switch {
		case i < 0:
			infos = append(infos, *info)
		case len(infos[i].Addrs) < maxPeerAddrs:
			infos[i].Addrs = append(infos[i].Addrs, info.Addrs...)
		}
	}
	return infos, nil
}

// Readable is Infos without what cannot be taken: addresses that cannot be read
// and those beyond MaxAddrs. It returns how many it left out, and why the first.
func Readable(addrs []string) (infos []peer.AddrInfo, left int, why error) {
	var good []string
	for _, a := range addrs {
		_, err := read(a)
		if err == nil && len(good) == MaxAddrs {
			err = fmt.Errorf("discovery: more than %d addresses", MaxAddrs)
		}
		if err == nil {
			good = append(good, a)
			continue
		}
		left++
		if why == nil {
			why = err
		}
	}
	infos, err := Infos(good)
	if err != nil {
		panic("discovery: an address is readable only once") // our own mistake
	}
	return infos, left, why
}

func read(addr string) (*peer.AddrInfo, error) {
	info, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return nil, fmt.Errorf("discovery: address %q: %w", addr, err)
	}
	return info, nil
}

// Check returns an error unless addr is a multiaddr to which /p2p/ and a peer's
// id can be appended.
func Check(addr string) error {
	m, err := ma.NewMultiaddr(addr)
	if err != nil {
		return fmt.Errorf("discovery: address %q: %w", addr, err)
	}
	if len(m) == 0 || m[len(m)-1].Protocol().Code == ma.P_P2P {
		return fmt.Errorf("discovery: address %q: it leads nowhere, or ends with /p2p/", addr)
	}
	return nil
}

// Full returns a peer's addresses with /p2p/, those of the loopback interface
// last.
func Full(info peer.AddrInfo) []string {
	addrs := slices.Clone(info.Addrs)
	slices.SortStableFunc(addrs, func(a, b ma.Multiaddr) int { return loopback(a) - loopback(b) })
	full := make([]string, 0, len(addrs))
	for _, a := range addrs {
		full = append(full, a.String()+"/p2p/"+info.ID.String())
	}
	return full
}

func loopback(a ma.Multiaddr) int {
	if manet.IsIPLoopback(a) {
		return 1
	}
	return 0
}

// Remember puts addresses into the host's address book for as long as it runs.
func Remember(h host.Host, infos []peer.AddrInfo) {
	for _, i := range infos {
		if i.ID != h.ID() {
			h.Peerstore().AddAddrs(i.ID, i.Addrs[:min(len(i.Addrs), maxPeerAddrs)], peerstore.PermanentAddrTTL)
		}
	}
}

// Own returns the host's own signed addresses, or nil while there are none.
func Own(h host.Host) *record.Envelope {
	book, ok := peerstore.GetCertifiedAddrBook(h.Peerstore())
	if !ok {
		return nil
	}
	return book.GetPeerRecord(h.ID())
}

// Packed returns the bytes of signed addresses, and their sequence number, by
// which a newer record is told from an older.
func Packed(e *record.Envelope) (seq uint64, b []byte, err error) {
	r, err := peerRecord(e)
	if err != nil {
		return 0, nil, err
	}
	if b, err = e.Marshal(); err != nil {
		return 0, nil, fmt.Errorf("discovery: pack signed addresses: %w", err)
	}
	return r.Seq, b, nil
}

// Unpack reads what Packed wrote and checks the signature. The peer is who the
// addresses belong to and who signed them.
func Unpack(b []byte) (*record.Envelope, peer.ID, error) {
	e, rec, err := record.ConsumeEnvelope(b, peer.PeerRecordEnvelopeDomain)
	if err != nil {
		return nil, "", fmt.Errorf("discovery: signed addresses: %w", err)
	}
	r, ok := rec.(*peer.PeerRecord)
	if !ok || !r.PeerID.MatchesPublicKey(e.PublicKey) || len(r.Addrs) > maxPeerAddrs {
		return nil, "", errors.New("discovery: signed addresses are not well formed")
	}
	return e, r.PeerID, nil
}

// Consume puts signed addresses into the host's address book, and reports
// whether they were newer than what it had.
func Consume(h host.Host, e *record.Envelope) bool {
	book, ok := peerstore.GetCertifiedAddrBook(h.Peerstore())
	if !ok {
		return false
	}
	accepted, err := book.ConsumePeerRecord(e, peerstore.PermanentAddrTTL)
	return accepted && err == nil
}

func peerRecord(e *record.Envelope) (*peer.PeerRecord, error) {
	rec, err := e.Record()
	if err != nil {
		return nil, fmt.Errorf("discovery: signed addresses: %w", err)
	}
	r, ok := rec.(*peer.PeerRecord)
	if !ok {
		return nil, errors.New("discovery: an envelope without addresses")
	}
	return r, nil
}
