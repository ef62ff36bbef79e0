package nixdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"modernc.org/sqlite"

	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/nixstore/nixstate"
	"github.com/varve-image/varve/internal/problems"
)

const (
	// maxPaths and maxRefs limit what a database may hold. A file of nixstate.MaxFile
	// bytes that Nix wrote holds less; a forged one could hold more.
	maxPaths = 500_000
	maxRefs  = 5_000_000
	// maxText limits a value in bytes.
	maxText = 1 << 20
	// limitLength is SQLITE_LIMIT_LENGTH.
	limitLength = 0
)

// decode returns the paths of the database whose file is data, sorted. Store paths
// have to lie in storeDir. journal is the write-ahead log beside it, or nil; what
// was committed to it counts. data and journal are changed.
func decode(ctx context.Context, storeDir string, data, journal []byte) ([]nixstate.Path, error) {
	data, err := withJournal(data, journal)
	if err != nil {
		return nil, err
	}
	data[18], data[19] = 1, 1 // in memory there is no journal
	m, err := openMemory(ctx)
	if err != nil {
		return nil, err
	}
	defer m.close()
	if err := m.deserialize(data); err != nil {
		return nil, err
	}
	r := &reader{memory: m, storeDir: storeDir, byID: map[int64]int{}}
	for _, read := range []func() error{
		r.harmless, r.tables,
		func() error { return r.readPaths(everything("ValidPaths")) },
		func() error { return r.readRefs(everything("Refs")) },
		r.connect, r.checkClaims,
		r.readOutputs,
	} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(r.paths, func(a, b nixstate.Path) int { return strings.Compare(a.Path, b.Path) })
	return r.paths, nil
}

// reader reads the tables of a database one after the other.
type reader struct {
	*memory
	storeDir string
	paths    []nixstate.Path
	byID     map[int64]int // index in paths
	refs     []ref
}

// ref is a reference from a path to another one, by their numbers.
type ref struct{ from, to int64 }

// columns lists what is read from each table.
var columns = map[string][]string{
	"ValidPaths":        {"id", "path", "hash", "registrationTime", "deriver", "narSize", "ultimate", "sigs", "ca"},
	"Refs":              {"referrer", "reference"},
	"DerivationOutputs": {"drv", "id", "path"},
}

// harmless limits what the database can make SQLite do.
func (r *reader) harmless() error {
	if _, err := sqlite.Limit(r.conn, limitLength, maxText); err != nil {
		return err
	}
	return r.exec("pragma trusted_schema = off; pragma query_only = on; pragma cell_size_check = on")
}

// tables checks that the tables exist, and that they are tables with columns of
// their own. A view, a virtual table or a computed column would execute code from
// the database.
func (r *reader) tables() error {
	var bad problems.List
	for _, table := range []string{"ValidPaths", "Refs", "DerivationOutputs"} {
		var kind string
		err := r.conn.QueryRowContext(r.ctx, "select type from pragma_table_list where schema = 'main' and name = ?", table).Scan(&kind)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			bad.Addf("there is no table %s", table)
			continue
		case err != nil:
			return err
		case kind != "table":
			bad.Addf("%s is a %.40q, not a table", table, kind)
			continue
		}
		missing, err := r.missingColumns(table)
		if err != nil {
			return err
		}
		if len(missing) > 0 {
			bad.Addf("the table %s has no column %s of its own", table, strings.Join(missing, ", "))
		}
	}
	return bad.Err()
}

// missingColumns lists the columns that a table lacks, or that are computed.
func (r *reader) missingColumns(table string) ([]string, error) {
	missing := slices.Clone(columns[table])
	err := r.each("select name, hidden from pragma_table_xinfo('"+table+"')", 10_000, func(scan scanFunc) error {
		var name string
		var hidden int
		if err := scan(&name, &hidden); err != nil {
			return err
		}
		if hidden == 0 {
			missing = slices.DeleteFunc(missing, func(m string) bool { return strings.EqualFold(m, name) })
		}
		return nil
	})
	return missing, err
}

type scanFunc func(values ...any) error

// each calls row for each row of a query; more than most rows are an error.
func (r *reader) each(query string, most int, row func(scanFunc) error, args ...any) error {
	rows, err := r.conn.QueryContext(r.ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for n := 0; rows.Next(); n++ {
		if n == most {
			return fmt.Errorf("there are more than %d rows", most)
		}
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// everything returns the query for all rows of a table, from the first to the last,
// using no index.
func everything(table string) string { return selected(table) + " not indexed" }

// selected returns the beginning of a query for rows of a table.
func selected(table string) string {
	return "select " + strings.Join(columns[table], ", ") + " from main." + table
}

// readPaths reads rows of ValidPaths.
func (r *reader) readPaths(query string, args ...any) error {
	var bad problems.List
	seen := map[string]bool{}
	err := r.each(query, maxPaths, func(scan scanFunc) error {
		id, p, err := scanPath(scan)
		if err != nil {
			return err
		}
		if _, err := nixstore.ParsePath(r.storeDir, p.Path); err != nil {
			bad.Add(err)
		}
		if p.Deriver != "" {
			if _, err := nixstore.ParsePath(r.storeDir, p.Deriver); err != nil {
				bad.Addf("path %.300q: deriver: %w", p.Path, err)
			}
		}
		if _, twice := r.byID[id]; twice || seen[p.Path] {
			return fmt.Errorf("path %.300q is there twice", p.Path)
		}
		seen[p.Path] = true
		r.byID[id] = len(r.paths)
		r.paths = append(r.paths, p)
		return nil
	}, args...)
	return inTable("ValidPaths", errors.Join(err, bad.Err()))
}

func inTable(table string, err error) error {
	if err != nil {
		return fmt.Errorf("table %s: %w", table, err)
	}
	return nil
}

// scanPath reads a row of ValidPaths.
func scanPath(scan scanFunc) (id int64, p nixstate.Path, err error) {
	var hash string
	var deriver, sigs, ca sql.Null[string]
	var size, ultimate sql.Null[int64]
	if err := scan(&id, &p.Path, &hash, &p.RegistrationTime, &deriver, &size, &ultimate, &sigs, &ca); err != nil {
		return 0, p, err
	}
	if p.NarHash, err = nixstore.ParseHash(hash); err != nil {
		return 0, p, fmt.Errorf("path %.300q: its hash: %w", p.Path, err)
	}
	if size.V < 0 {
		return 0, p, fmt.Errorf("path %.300q: its narSize is %d", p.Path, size.V)
	}
	p.Deriver, p.NarSize, p.Ultimate, p.CA = deriver.V, uint64(size.V), ultimate.V != 0, ca.V
	if sigs.V != "" {
		p.Sigs = strings.Fields(sigs.V)
	}
	return id, p, nil
}

// readRefs reads rows of Refs.
func (r *reader) readRefs(query string, args ...any) error {
	err := r.each(query, maxRefs, func(scan scanFunc) error {
		var one ref
		err := scan(&one.from, &one.to)
		r.refs = append(r.refs, one)
		return err
	}, args...)
	return inTable("Refs", err)
}

// connect gives the paths their references.
func (r *reader) connect() error {
	for _, one := range r.refs {
		from, ok := r.byID[one.from]
		if !ok {
			return inTable("Refs", fmt.Errorf("a reference from path number %d, which is not there", one.from))
		}
		to, ok := r.byID[one.to]
		if !ok {
			return inTable("Refs", fmt.Errorf("path %.300q: a reference to path number %d, which is not there", r.paths[from].Path, one.to))
		}
		r.paths[from].References = append(r.paths[from].References, r.paths[to].Path)
	}
	for _, p := range r.paths {
		slices.Sort(p.References)
	}
	return nil
}

// checkClaims refuses claims that Nix could not read: Write would, too, without
// knowing where they come from.
func (r *reader) checkClaims() error {
	var bad problems.List
	for _, p := range r.paths {
		if err := p.CheckClaims(); err != nil {
			bad.Add(err)
		}
	}
	return inTable("ValidPaths", bad.Err())
}

func (r *reader) readOutputs() error {
	err := r.each(everything("DerivationOutputs"), maxPaths, func(scan scanFunc) error {
		var id int64
		var o nixstate.Output
		if err := scan(&id, &o.Name, &o.Path); err != nil {
			return err
		}
		drv, ok := r.byID[id]
		if !ok {
			return fmt.Errorf("an output %.100q of path number %d, which is not there", o.Name, id)
		}
		if _, err := nixstore.ParsePath(r.storeDir, o.Path); err != nil {
			return fmt.Errorf("path %.300q: output %.100q: %w", r.paths[drv].Path, o.Name, err)
		}
		r.paths[drv].Outputs = append(r.paths[drv].Outputs, o)
		return nil
	})
	return inTable("DerivationOutputs", err)
}
