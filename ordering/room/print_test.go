package room

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"tertulia/ordering"
)

// print is equal exactly for replicas that behave alike from now on: it is made of
// all that the Core holds, down into raft, and of the disk. A field that is left out
// is named in blind; a field that is added later is in by itself.
func (x *site) print() [16]byte {
	p := printer{base: nanoseconds(reflect.ValueOf(x.base)), have: x.have, b: make([]byte, 0, 16<<10)}
	p.value(reflect.ValueOf(x.core))
	p.value(reflect.ValueOf(x.saved))
	p.b = fmt.Append(p.b, x.n, x.ticks, x.clock, len(x.finals), len(x.stable), x.wrong)
	for _, f := range x.finals {
		p.b = fmt.Append(p.b, f.ID, f.Epoch)
	}
	if x.sealed != nil {
		p.value(reflect.ValueOf(x.sealed))
	}
	h := sha256.Sum256(p.b)
	return [16]byte(h[:16])
}

// blind are the fields that say nothing of what a replica will do.
var blind = map[string]bool{
	"Core.cfg":    true, // the same throughout
	"Core.now":    true, // told with every input
	"Core.sorted": true, // a cache
	"Core.ready":  true, // empty between inputs
	"Log.cfg":     true,
	"Log.taken":   true,
	"store.make":  true,
	"store.cfg":   true,
	"List.cfg":    true,
	"Queue.cfg":   true,
	"Bully.cfg":   true,
	"Bully.now":   true, // told with every scene
	// Nobody but a leader is ticked, so this is never looked at; it is random.
	"raft.randomizedElectionTimeout": true,
	"raft.logger":                    true,
	"raft.traceLogger":               true,
	"Graph.refused":                  true, // counts, for people
	"order.queue":                    true, // of an epoch with a leader, and there is none
	"Ack.Ask":                        true, // it was answered
	// Of standings: the next is said a second after the last, which no search reaches.
	"peer.holds":   true, // but what is beyond
	"peer.told":    true,
	"Core.standAt": true,
}

// printer writes values down.
type printer struct {
	b    []byte
	base int64 // nanoseconds
	have ordering.Vector
	on   []uintptr // pointers above, so that a circle ends
}

func (p *printer) value(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		p.b = append(p.b, 'b')
		if v.Bool() {
			p.b = append(p.b, 1)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		p.b = binary.AppendVarint(p.b, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		p.b = binary.AppendUvarint(p.b, v.Uint())
	case reflect.Float32, reflect.Float64:
		p.b = fmt.Append(p.b, v.Float())
	case reflect.String:
		p.b = append(binary.AppendUvarint(p.b, uint64(v.Len())), v.String()...)
	case reflect.Array, reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 && (v.Kind() == reflect.Slice || v.CanAddr()) {
			p.b = append(binary.AppendUvarint(append(p.b, '['), uint64(v.Len())), v.Bytes()...)
			return
		}
		p.b = binary.AppendUvarint(append(p.b, '['), uint64(v.Len()))
		for i := range v.Len() {
			p.value(v.Index(i))
		}
	case reflect.Map:
		p.pairs(v)
	case reflect.Interface:
		if !v.IsNil() {
			p.b = append(p.b, v.Elem().Type().String()...)
			p.value(v.Elem())
		}
	case reflect.Pointer:
		p.pointer(v)
	case reflect.Struct:
		p.fields(v)
	case reflect.Func, reflect.Chan, reflect.UnsafePointer, reflect.Invalid, reflect.Complex64, reflect.Complex128:
	}
}

// pointer writes what is pointed at. An entry is known by its hash.
func (p *printer) pointer(v reflect.Value) {
	if v.IsNil() {
		p.b = append(p.b, '0')
		return
	}
	if v.Type() == reflect.TypeFor[*ordering.Entry]() {
		p.value(v.Elem().FieldByName("hash"))
		return
	}
	at := v.Pointer()
	if i := slices.Index(p.on, at); i >= 0 {
		p.b = append(p.b, '^', byte(len(p.on)-i))
		return
	}
	p.on = append(p.on, at)
	p.value(v.Elem())
	p.on = p.on[:len(p.on)-1]
}

// pairs writes a map, by what its keys are.
func (p *printer) pairs(v reflect.Value) {
	var pairs [][]byte
	for it := v.MapRange(); it.Next(); {
		begin := len(p.b)
		p.value(it.Key())
		p.value(it.Value())
		pairs = append(pairs, slices.Clone(p.b[begin:]))
		p.b = p.b[:begin]
	}
	slices.SortFunc(pairs, bytes.Compare)
	p.b = binary.AppendUvarint(append(p.b, '{'), uint64(len(pairs)))
	for _, q := range pairs {
		p.b = append(p.b, q...)
	}
}

func (p *printer) fields(v reflect.Value) {
	t := v.Type()
	if t == reflect.TypeFor[time.Time]() {
		p.moment(v)
		return
	}
	if t == reflect.TypeFor[peer]() {
		p.beyond(v.FieldByName("holds"))
	}
	for _, i := range fieldsOf(t) {
		p.value(v.Field(i))
	}
}

// beyond writes the part of what a peer holds that is not held here: to know it to
// hold the rest is of no use where authors reach everybody.
func (p *printer) beyond(v reflect.Value) {
	more := make(ordering.Vector)
	for it := v.MapRange(); it.Next(); {
		var o ordering.Origin
		for i := range o.Device {
			o.Device[i] = byte(it.Key().Field(0).Index(i).Uint())
		}
		for i := range o.Instance {
			o.Instance[i] = byte(it.Key().Field(1).Index(i).Uint())
		}
		if seq := it.Value().Uint(); seq > p.have[o] {
			more[o] = seq
		}
	}
	p.value(reflect.ValueOf(more))
}

var seenFields sync.Map // of []int, by type

// fieldsOf returns the fields of a struct that count.
func fieldsOf(t reflect.Type) []int {
	if list, known := seenFields.Load(t); known {
		return list.([]int)
	}
	list := []int{}
	foreign := strings.Contains(t.PkgPath(), "protobuf") || strings.HasPrefix(t.PkgPath(), "sync")
	for i := range t.NumField() {
		if f := t.Field(i); !foreign && !blind[t.Name()+"."+f.Name] && f.Name != "sizeCache" {
			list = append(list, i)
		}
	}
	seenFields.Store(t, list)
	return list
}

// moment writes in which step of time a moment lies. Nothing is compared more finely:
// within a step only acknowledgements are due, which are waited for, and the next
// begins after every short wait that began in this one.
func (p *printer) moment(v reflect.Value) {
	at := nanoseconds(v)
	if at == 0 {
		p.b = append(p.b, 'z')
		return
	}
	step := int64(-1)
	if d := at - p.base; d >= 0 {
		step = d / int64(span)
	}
	p.b = binary.AppendVarint(append(p.b, 't'), step)
}

// nanoseconds reads a time in a field that is not exported: seconds, and what is
// beyond them, by any epoch; 0 for the zero time. There is no monotonic clock in it.
func nanoseconds(v reflect.Value) int64 {
	sec, nano := v.FieldByName("ext").Int(), int64(v.FieldByName("wall").Uint())
	if sec == 0 && nano == 0 {
		return 0
	}
	return (sec-secondsAt1970)*int64(time.Second) + nano
}

const secondsAt1970 = 62_135_596_800
