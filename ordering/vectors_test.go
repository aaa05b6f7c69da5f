package ordering_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"testing"

	. "tertulia/ordering"
)

var update = flag.Bool("update", false, "rewrite testdata/vectors.json")

// vector is one line of testdata/vectors.json, against which another
// implementation can check its own encoding. All numbers in the bytes are
// big-endian; byte strings stand behind a 32-bit length.
type vector struct {
	Name  string
	What  string // "entry", "run", or the name of a body
	Bytes string // hex
	Hash  string `json:",omitempty"` // of an entry
	Sig   string `json:",omitempty"` // of a run
}

// key returns the key whose seed is 32 times b.
func key(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

func origin(b byte) (o Origin) {
	copy(o.Device[:], key(b).Public().(ed25519.PublicKey))
	copy(o.Instance[:], bytes.Repeat([]byte{b}, InstanceSize))
	return o
}

func fill(b byte) (h Hash) {
	copy(h[:], bytes.Repeat([]byte{b}, HashSize))
	return h
}

var sample = struct {
	genesis Genesis
	admit   Admit
	invite  Invite
	revoke  Revoke
	remove  Remove
	grant   KeyGrant
	payload Payload
	reply   Payload
}{
	genesis: Genesis{Name: "Café", Mode: Lamport, NodeName: "ana-laptop", Invite: InviteKey(fill(0x11)), Salt: [SaltSize]byte{1, 2, 3}},
	admit:   Admit{Device: origin(2).Device, Invite: InviteKey(fill(0x11)), Name: "bob-desktop"},
	invite:  Invite{Key: InviteKey(fill(0x22)), ExpiresMS: 1_800_000_000_000, Uses: 5},
	revoke:  Revoke{Key: InviteKey(fill(0x22))},
	remove:  Remove{Device: origin(2).Device},
	grant: KeyGrant{ID: KeyID{1, 2, 3, 4, 5, 6, 7, 8}, Keys: []SealedKey{
		{Device: origin(1).Device, Box: [SealedKeySize]byte{7}}, {Device: origin(2).Device, Box: [SealedKeySize]byte{8}},
	}},
	payload: Payload{Salt: [SaltSize]byte{9}, Name: "Ana", Text: "¡Hola! 👋"},
	reply:   Payload{Salt: [SaltSize]byte{10}, Name: "Bob", ReplyTo: &EntryID{Origin: origin(1), Seq: 2}, Text: "hello"},
}

// entries returns a genesis, and three entries of one chain: without anything
// optional, with deps, with a client's stamp.
func entries() (genesis *Entry, chain []*Entry) {
	genesis = Seal(Entry{Origin: origin(1), Seq: 1, TS: 1, WallMS: 1_700_000_000_000, Kind: KindGenesis, Body: sample.genesis.Encode()})
	room := RoomID(genesis.Hash())
	deps := []Ref{
		{EntryID{origin(1), 1}, genesis.Hash()},
		{EntryID{origin(3), 7}, fill(0x33)},
		{EntryID{origin(4), 1 << 40}, fill(0x44)},
	}
	slices.SortFunc(deps, func(a, b Ref) int { return a.Origin.Compare(b.Origin) })
	one := Seal(Entry{Room: room, Origin: origin(2), Seq: 1, TS: 9, WallMS: -1, Kind: KindNull})
	two := Seal(Entry{Room: room, Origin: origin(2), Seq: 2, Prev: one.Hash(), Deps: deps, TS: 10, WallMS: 1_700_000_000_001, Kind: KindJoined, Body: []byte("sealed")})
	three := Seal(Entry{
		Room: room, Origin: origin(2), Seq: 3, Prev: two.Hash(), TS: 11, Kind: KindMessage, Body: []byte("sealed too"),
		Client: SignClient(key(9), room, 0, origin(2).Device, "client-1", sample.payload.Encode()),
	})
	return genesis, []*Entry{one, two, three}
}

func runs() map[string]Verified {
	_, chain := entries()
	return map[string]Verified{"run of 1": SignRun(key(2), chain[0]), "run of 3": SignRun(key(2), chain...)}
}

func vectors() []vector {
	genesis, chain := entries()
	var list []vector
	for i, e := range append([]*Entry{genesis}, chain...) {
		name := []string{"genesis", "plain", "three deps", "client stamp"}[i]
		list = append(list, vector{Name: name, What: "entry", Bytes: hex.EncodeToString(e.Bytes()), Hash: e.Hash().String()})
	}
	for _, name := range []string{"run of 1", "run of 3"} {
		r := runs()[name].Run()
		list = append(list, vector{Name: name, What: "run", Bytes: hex.EncodeToString(r.Bytes()), Sig: hex.EncodeToString(r.Sig[:])})
	}
	for _, b := range bodies {
		list = append(list, vector{Name: b.name, What: b.what, Bytes: hex.EncodeToString(b.bytes)})
	}
	return list
}

// bodies has each body, and a function that decodes and encodes it again.
var bodies = []struct {
	name, what string
	bytes      []byte
	again      func([]byte) ([]byte, error)
}{
	{"a room in Lamport mode", "genesis", sample.genesis.Encode(), again(DecodeGenesis)},
	{"an admission", "admit", sample.admit.Encode(), again(DecodeAdmit)},
	{"five uses, until 2027", "invite", sample.invite.Encode(), again(DecodeInvite)},
	{"a revocation", "revoke", sample.revoke.Encode(), again(DecodeRevoke)},
	{"a removal", "remove", sample.remove.Encode(), again(DecodeRemove)},
	{"a key for two", "grant", sample.grant.Encode(), again(DecodeKeyGrant)},
	{"a message", "payload", sample.payload.Encode(), again(DecodePayload)},
	{"an answer", "payload", sample.reply.Encode(), again(DecodePayload)},
}

func again[B interface{ Encode() []byte }](decode func([]byte) (B, error)) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) {
		v, err := decode(b)
		if err != nil {
			return nil, err
		}
		return v.Encode(), nil
	}
}

func TestTheEncodingIsTheOneInTheVectors(t *testing.T) {
	const file = "testdata/vectors.json"
	got, err := json.MarshalIndent(vectors(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the encoding changed: entries signed before would not verify (-update rewrites %s)", file)
	}
}

func TestTheVectorsDecodeToTheSameBytes(t *testing.T) {
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	if len(list) < 14 {
		t.Fatalf("only %d vectors", len(list))
	}
	decoders := make(map[string]func([]byte) ([]byte, error))
	for _, b := range bodies {
		decoders[b.what] = b.again
	}
	for _, v := range list {
		raw, err := hex.DecodeString(v.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		var out []byte
		switch v.What {
		case "entry":
			e, err := DecodeEntry(raw)
			if err != nil {
				t.Fatalf("%s: %v", v.Name, err)
			}
			if e.Hash().String() != v.Hash {
				t.Errorf("%s: hash %s, want %s", v.Name, e.Hash(), v.Hash)
			}
			out = Seal(*e).Bytes()
		case "run":
			r, err := DecodeRun(raw)
			if err != nil {
				t.Fatalf("%s: %v", v.Name, err)
			}
			if _, err := VerifyRun(r); err != nil {
				t.Errorf("%s: %v", v.Name, err)
			}
			out = r.Bytes()
		default:
			if out, err = decoders[v.What](raw); err != nil {
				t.Fatalf("%s: %v", v.Name, err)
			}
		}
		if !bytes.Equal(out, raw) {
			t.Errorf("%s: encoded again it is other bytes", v.Name)
		}
	}
}
