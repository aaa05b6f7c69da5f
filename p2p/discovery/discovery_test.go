package discovery

import (
	"crypto/rand"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
)

func signed(t *testing.T, claim func(*peer.PeerRecord)) (*record.Envelope, peer.ID) {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	r := peer.PeerRecordFromAddrInfo(peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{ma.StringCast("/ip4/192.0.2.1/tcp/1")}})
	claim(r)
	e, err := record.Seal(r, key)
	if err != nil {
		t.Fatal(err)
	}
	return e, id
}

func TestSignedAddressesComeBack(t *testing.T) {
	e, id := signed(t, func(r *peer.PeerRecord) { r.Seq = 7 })
	seq, b, err := Packed(e)
	if err != nil || seq != 7 {
		t.Fatalf("seq %d, %v", seq, err)
	}
	if _, got, err := Unpack(b); err != nil || got != id {
		t.Errorf("unpacked %v, %v", got, err)
	}
}

func TestAddressesSignedByAnotherAreRefused(t *testing.T) {
	_, other := signed(t, func(*peer.PeerRecord) {})
	e, _ := signed(t, func(r *peer.PeerRecord) { r.PeerID = other })
	_, b, err := Packed(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Unpack(b); err == nil {
		t.Error("a peer signs for another")
	}
	e, _ = signed(t, func(*peer.PeerRecord) {})
	if _, b, err = Packed(e); err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if _, _, err := Unpack(b); err == nil {
		t.Error("a broken signature passes")
	}
}

func TestAddressesAreGroupedByPeer(t *testing.T) {
	_, x := signed(t, func(*peer.PeerRecord) {})
	_, y := signed(t, func(*peer.PeerRecord) {})
	lo, far, only := "/ip4/127.0.0.1/tcp/1/p2p/"+x.String(), "/ip4/192.0.2.1/tcp/1/p2p/"+x.String(), "/ip4/192.0.2.2/tcp/1/p2p/"+y.String()
	infos, err := Infos([]string{lo, only, far})
	if err != nil || len(infos) != 2 {
		t.Fatalf("%v, %v", infos, err)
	}
	if got := Full(infos[0]); !slices.Equal(got, []string{far, lo}) {
		t.Errorf("full addresses = %v, want the loopback last", got)
	}
	for _, bad := range []string{"", "127.0.0.1:1", "/ip4/127.0.0.1/tcp/1"} {
		if _, err := Infos([]string{bad}); err == nil {
			t.Errorf("%q is an address", bad)
		}
	}
	if _, err := Infos(make([]string, MaxAddrs+1)); err == nil {
		t.Error("there is no limit")
	}
}
