package nixdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// memory is an SQLite database that exists in memory only.
type memory struct {
	ctx  context.Context
	db   *sql.DB
	conn *sql.Conn
}

func openMemory(ctx context.Context) (*memory, error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, fmt.Errorf("open SQLite: %w", err)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("open SQLite: %w", err)
	}
	return &memory{ctx, db, conn}, nil
}

func (m *memory) close() error { return errors.Join(m.conn.Close(), m.db.Close()) }

func (m *memory) exec(statements string) error {
	_, err := m.conn.ExecContext(m.ctx, statements)
	return err
}

// serialize returns the bytes of a file with this database.
func (m *memory) serialize() (data []byte, err error) {
	err = m.conn.Raw(func(c any) (err error) {
		data, err = c.(interface{ Serialize() ([]byte, error) }).Serialize()
		return err
	})
	return data, err
}

// deserialize makes data, the bytes of a file, the database.
func (m *memory) deserialize(data []byte) error {
	return m.conn.Raw(func(c any) error {
		return c.(interface{ Deserialize([]byte) error }).Deserialize(data)
	})
}

// rowsAtOnce is how many rows a statement inserts: with one statement for each row,
// the driver would take most of the time.
const rowsAtOnce = 100

// inserter inserts rows into a table. The first error is kept until done.
type inserter struct {
	m       *memory
	table   string
	columns int
	many    *sql.Stmt
	values  []any
	err     error
}

func (m *memory) insert(table string, columns int) *inserter {
	in := &inserter{m: m, table: table, columns: columns}
	in.many, in.err = m.conn.PrepareContext(m.ctx, in.statement(rowsAtOnce))
	return in
}

func (in *inserter) statement(rows int) string {
	row := "(" + strings.Repeat("?,", in.columns-1) + "?)"
	return "insert into " + in.table + " values " + strings.Repeat(row+",", rows-1) + row
}

func (in *inserter) row(values ...any) {
	in.values = append(in.values, values...)
	if len(in.values) == rowsAtOnce*in.columns && in.err == nil {
		_, in.err = in.many.ExecContext(in.m.ctx, in.values...)
		in.values = in.values[:0]
	}
}

// done inserts the last rows.
func (in *inserter) done() error {
	if in.err != nil {
		return in.err
	}
	if rows := len(in.values) / in.columns; rows > 0 {
		_, in.err = in.m.conn.ExecContext(in.m.ctx, in.statement(rows), in.values...)
	}
	return errors.Join(in.err, in.many.Close())
}
