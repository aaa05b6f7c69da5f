package ordering

import (
	"encoding/binary"
	"errors"
)

// The canonical encoding: fixed-width big-endian numbers, byte strings behind a
// 32-bit length, flags of one byte that are 0 or 1. There is exactly one
// encoding of a value, so decoding and encoding again gives the same bytes.

var errShort = errors.New("ordering: bytes end too early")

type encoder struct{ b []byte }

func (e *encoder) u8(v uint8)      { e.b = append(e.b, v) }
func (e *encoder) u16(v uint16)    { e.b = binary.BigEndian.AppendUint16(e.b, v) }
func (e *encoder) u32(v uint32)    { e.b = binary.BigEndian.AppendUint32(e.b, v) }
func (e *encoder) u64(v uint64)    { e.b = binary.BigEndian.AppendUint64(e.b, v) }
func (e *encoder) raw(v []byte)    { e.b = append(e.b, v...) }
func (e *encoder) origin(o Origin) { e.raw(o.Device[:]); e.raw(o.Instance[:]) }
func (e *encoder) bytes(v []byte)  { e.u32(uint32(len(v))); e.raw(v) }
func (e *encoder) str(v string)    { e.u32(uint32(len(v))); e.b = append(e.b, v...) }

func (e *encoder) flag(v bool) {
	if v {
		e.u8(1)
	} else {
		e.u8(0)
	}
}

// decoder reads what encoder wrote. After the first error it returns zeros;
// err tells. Byte strings are slices of the input, not copies.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) raw(n int) []byte {
	if d.err != nil || n > len(d.b) {
		d.fail(errShort)
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *decoder) u8() uint8 {
	if v := d.raw(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if v := d.raw(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if v := d.raw(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if v := d.raw(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (d *decoder) flag() bool {
	v := d.u8()
	if v > 1 {
		d.fail(errors.New("ordering: a flag is 0 or 1"))
	}
	return v == 1
}

func (d *decoder) hash() (h Hash)     { copy(h[:], d.raw(HashSize)); return h }
func (d *decoder) key() (k DeviceKey) { copy(k[:], d.raw(DeviceSize)); return k }
func (d *decoder) origin() (o Origin) {
	o.Device, o.Instance = d.key(), d.instance()
	return o
}
func (d *decoder) instance() (i Instance) { copy(i[:], d.raw(InstanceSize)); return i }
func (d *decoder) str(max int) string     { return string(d.bytes(max)) }
func (d *decoder) bytes(max int) []byte {
	n := d.u32()
	if uint64(n) > uint64(max) {
		d.fail(errors.New("ordering: a field is over its limit"))
		return nil
	}
	return d.raw(int(n))
}

// end checks that everything was read.
func (d *decoder) end() error {
	if d.err == nil && len(d.b) != 0 {
		d.fail(errors.New("ordering: bytes left over"))
	}
	return d.err
}
