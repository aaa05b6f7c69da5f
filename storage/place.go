package storage

import (
	"bytes"
	"encoding/binary"
	"errors"

	"tertulia/ordering"
)

// A place is where a line stands in a room: the final list by index first, then
// the tail in the predicted order. Places compare bytewise. A place stays good to
// page from when the line that stood there is elsewhere.
const (
	finalPlaceSize = 1 + 8
	tailPlaceSize  = 1 + ordering.KeySize
)

// The first byte of a place.
const (
	inFinals = 0
	inTail   = 1
)

var (
	tailBegins = []byte{inTail} // below every place in the tail, above every final one
	pastAll    = []byte{inTail + 1}
)

// FinalPlace returns the place of the line at an index. That of index 0 is below
// all lines.
func FinalPlace(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{inFinals}, index)
}

func tailPlace(k ordering.Key) []byte { return append([]byte{inTail}, k.Bytes()...) }

// IsPlace reports whether b may be a place: of a line that is here or not.
func IsPlace(b []byte) bool {
	return len(b) == finalPlaceSize && b[0] == inFinals || len(b) == tailPlaceSize && b[0] == inTail
}

func isFinal(place []byte) bool { return len(place) > 0 && place[0] == inFinals }

// indexAt returns the index of a final place.
func indexAt(place []byte) uint64 { return binary.BigEndian.Uint64(place[1:finalPlaceSize]) }

// idAt returns the entry of a place in the tail.
func idAt(place []byte) ordering.EntryID { return decodeID(place[tailPlaceSize-idSize:]) }

// next returns the least place above p: bytewise, p with a zero appended.
func next(p []byte) []byte { return append(bytes.Clone(p), 0) }

var errPlace = errors.New("storage: not a place")
