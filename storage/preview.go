package storage

import (
	"context"
	"fmt"

	"tertulia/ordering"
)

// MaxPreviews is how many lines of a room are kept for display while it is being
// joined; beyond it the first in the predicted order go.
const MaxPreviews = 1000

// Preview keeps lines for display alone, while the room is being joined and their
// past is not here: only Page and Find return them. A Commit of the same entry takes its
// preview's place. Entries without a line are left out.
func (s *Store) Preview(ctx context.Context, room ordering.RoomID, entries []Entry) error {
	return s.do(ctx, 0, func(ctx context.Context, t *writer) error {
		if err := t.preview(ctx, room, entries); err != nil {
			return fmt.Errorf("storage: keep preview of room %s: %w", room, err)
		}
		return nil
	})
}

// ClearPreview removes the room's previews.
func (s *Store) ClearPreview(ctx context.Context, room ordering.RoomID) error {
	return s.do(ctx, 0, func(ctx context.Context, t *writer) error {
		t.previewed = nil // so that commit looks again
		if _, err := t.clearPreviews.ExecContext(ctx, room[:]); err != nil {
			return fmt.Errorf("storage: clear preview of room %s: %w", room, err)
		}
		return nil
	})
}

func (t *writer) preview(ctx context.Context, id ordering.RoomID, entries []Entry) error {
	room, err := t.room(ctx, id)
	if err != nil {
		return err
	}
	for i := range entries {
		if entries[i].Line == nil {
			continue
		}
		if err := t.previewOne(ctx, room, &entries[i]); err != nil {
			return err
		}
	}
	t.previewed = nil
	t.previews.Store(true)
	_, err = t.dropOlderPreview.ExecContext(ctx, room, MaxPreviews-1)
	return err
}

// previewOne keeps x's line unless the entry, or the same words, are here already.
func (t *writer) previewOne(ctx context.Context, room int64, x *Entry) error {
	e := x.Entry
	origin, err := t.origin(ctx, e.Origin)
	if err != nil {
		return err
	}
	var n int
	if err := t.countRun.QueryRowContext(ctx, room, origin, int64(e.Seq), int64(e.Seq)).Scan(&n); err != nil || n > 0 {
		return err
	}
	place := tailPlace(e.Key())
	st := stampOf(e.Client, x.Line)
	if st.client != nil {
		if other, _, err := t.shownTwin(ctx, room, 0, st); err != nil || other != 0 {
			return err
		}
		var earlier bool
		err := t.previewBefore.QueryRowContext(ctx, room, st.client, st.payload, place).Scan(&earlier)
		if err != nil || earlier {
			return err
		}
		if _, err := t.dropSamePreview.ExecContext(ctx, room, st.client, st.payload); err != nil {
			return err
		}
	}
	values := appendLine([]any{room, origin, int64(e.Seq), place, st.client, st.payload}, x.Line)
	_, err = t.addPreview.ExecContext(ctx, append(values, e.Bytes())...)
	return err
}

// dropPreviewsOf removes the previews that a stored line replaces.
func (t *writer) dropPreviewsOf(ctx context.Context, room int64, place []byte, st stamp) error {
	if t.previewed == nil {
		if err := t.findPreviewed(ctx); err != nil {
			return err
		}
	}
	if !t.previewed[room] {
		return nil
	}
	if _, err := t.dropPreview.ExecContext(ctx, room, place); err != nil || st.client == nil {
		return err
	}
	_, err := t.dropSamePreview.ExecContext(ctx, room, st.client, st.payload)
	return err
}

// lookForPreviews tells readers whether there are previews. It runs outside of
// transactions that change them.
func (t *writer) lookForPreviews(ctx context.Context) error {
	if t.previewed == nil {
		if err := t.findPreviewed(ctx); err != nil {
			return fmt.Errorf("storage: look for previews: %w", err)
		}
	}
	t.previews.Store(len(t.previewed) > 0)
	return nil
}

func (t *writer) findPreviewed(ctx context.Context) error {
	rows, err := t.conn.QueryContext(ctx, `SELECT DISTINCT room FROM previews`)
	if err != nil {
		return err
	}
	defer rows.Close()
	found := map[int64]bool{}
	for rows.Next() {
		var room int64
		if err := rows.Scan(&room); err != nil {
			return err
		}
		found[room] = true
	}
	if err := rows.Err(); err != nil {
		return err
	}
	t.previewed = found
	return nil
}
