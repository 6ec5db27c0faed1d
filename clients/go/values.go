package feast

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/feast-assets/feast-assets/clients/go/internal/wire"
)

// isoMicros is how moments are sent in both protocols: the server reads such text where a column holds moments.
const isoMicros = "2006-01-02T15:04:05.999999Z07:00"

// plain returns a value as one of nil, bool, int64, float64, string, []byte and []any.
func plain(value any) (any, error) {
	switch value := value.(type) {
	case nil, bool, int64, float64, string, []byte:
		return value, nil
	case json.Number:
		if number, err := value.Int64(); err == nil {
			return number, nil
		}
		return value.Float64()
	case time.Time:
		return value.UTC().Format(isoMicros), nil
	}
	of := reflect.ValueOf(value)
	switch of.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return of.Int(), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if of.Uint() > math.MaxInt64 {
			return nil, fmt.Errorf("feast: %d does not fit 64 bits with a sign", of.Uint())
		}
		return int64(of.Uint()), nil
	case reflect.Float32, reflect.Float64:
		return of.Float(), nil
	case reflect.String:
		return of.String(), nil
	case reflect.Bool:
		return of.Bool(), nil
	case reflect.Slice, reflect.Array:
		items := make([]any, of.Len())
		for index := range items {
			item, err := plain(of.Index(index).Interface())
			if err != nil {
				return nil, err
			}
			items[index] = item
		}
		return items, nil
	}
	return nil, fmt.Errorf("feast: a value cannot be a %T", value)
}

// message returns a value as a message.
func message(value any) (*wire.Value, error) {
	given, err := plain(value)
	if err != nil {
		return nil, err
	}
	switch given := given.(type) {
	case nil:
		return &wire.Value{}, nil
	case bool:
		return &wire.Value{Val: &wire.Value_BoolVal{BoolVal: given}}, nil
	case int64:
		return &wire.Value{Val: &wire.Value_Int64Val{Int64Val: given}}, nil
	case float64:
		return &wire.Value{Val: &wire.Value_DoubleVal{DoubleVal: given}}, nil
	case string:
		return &wire.Value{Val: &wire.Value_StringVal{StringVal: given}}, nil
	case []byte:
		return &wire.Value{Val: &wire.Value_BytesVal{BytesVal: given}}, nil
	default:
		values, err := messages(given.([]any))
		if err != nil {
			return nil, err
		}
		return &wire.Value{Val: &wire.Value_ListVal{ListVal: values}}, nil
	}
}

func messages(values []any) (*wire.RepeatedValue, error) {
	made := &wire.RepeatedValue{Val: make([]*wire.Value, len(values))}
	for index, value := range values {
		each, err := message(value)
		if err != nil {
			return nil, err
		}
		made.Val[index] = each
	}
	return made, nil
}

// read returns what a message holds; nil for null.
func read(value *wire.Value) any {
	switch val := value.GetVal().(type) {
	case nil, *wire.Value_NullVal:
		return nil
	case *wire.Value_BytesVal:
		return val.BytesVal
	case *wire.Value_StringVal:
		return val.StringVal
	case *wire.Value_Int32Val:
		return val.Int32Val
	case *wire.Value_Int64Val:
		return val.Int64Val
	case *wire.Value_DoubleVal:
		return val.DoubleVal
	case *wire.Value_FloatVal:
		return val.FloatVal
	case *wire.Value_BoolVal:
		return val.BoolVal
	case *wire.Value_UnixTimestampVal:
		return moment(val.UnixTimestampVal)
	case *wire.Value_JsonVal:
		return val.JsonVal
	case *wire.Value_UuidVal:
		return val.UuidVal
	case *wire.Value_TimeUuidVal:
		return val.TimeUuidVal
	case *wire.Value_DecimalVal:
		return val.DecimalVal
	case *wire.Value_ZonedTimestampVal:
		return zoned(val.ZonedTimestampVal)
	case *wire.Value_UnixTimestampListVal:
		return moments(val.UnixTimestampListVal.GetVal())
	case *wire.Value_UnixTimestampSetVal:
		return moments(val.UnixTimestampSetVal.GetVal())
	case *wire.Value_MapVal:
		return mapping(val.MapVal)
	case *wire.Value_StructVal:
		return mapping(val.StructVal)
	case *wire.Value_MapListVal:
		return mappings(val.MapListVal)
	case *wire.Value_StructListVal:
		return mappings(val.StructListVal)
	case *wire.Value_ListVal:
		return each(val.ListVal.GetVal(), read)
	case *wire.Value_SetVal:
		return each(val.SetVal.GetVal(), read)
	case *wire.Value_ScalarMapVal:
		return scalarMap(val.ScalarMapVal)
	}
	return ofScalars(value)
}

// ofScalars returns a list or set of scalars that go as they are.
func ofScalars(value *wire.Value) any {
	switch val := value.GetVal().(type) {
	case *wire.Value_BytesListVal:
		return each(val.BytesListVal.GetVal(), same[[]byte])
	case *wire.Value_StringListVal:
		return each(val.StringListVal.GetVal(), same[string])
	case *wire.Value_Int32ListVal:
		return each(val.Int32ListVal.GetVal(), same[int32])
	case *wire.Value_Int64ListVal:
		return each(val.Int64ListVal.GetVal(), same[int64])
	case *wire.Value_DoubleListVal:
		return each(val.DoubleListVal.GetVal(), same[float64])
	case *wire.Value_FloatListVal:
		return each(val.FloatListVal.GetVal(), same[float32])
	case *wire.Value_BoolListVal:
		return each(val.BoolListVal.GetVal(), same[bool])
	case *wire.Value_JsonListVal:
		return each(val.JsonListVal.GetVal(), same[string])
	case *wire.Value_UuidListVal:
		return each(val.UuidListVal.GetVal(), same[string])
	case *wire.Value_TimeUuidListVal:
		return each(val.TimeUuidListVal.GetVal(), same[string])
	case *wire.Value_DecimalListVal:
		return each(val.DecimalListVal.GetVal(), same[string])
	case *wire.Value_BytesSetVal:
		return each(val.BytesSetVal.GetVal(), same[[]byte])
	case *wire.Value_StringSetVal:
		return each(val.StringSetVal.GetVal(), same[string])
	case *wire.Value_Int32SetVal:
		return each(val.Int32SetVal.GetVal(), same[int32])
	case *wire.Value_Int64SetVal:
		return each(val.Int64SetVal.GetVal(), same[int64])
	case *wire.Value_DoubleSetVal:
		return each(val.DoubleSetVal.GetVal(), same[float64])
	case *wire.Value_FloatSetVal:
		return each(val.FloatSetVal.GetVal(), same[float32])
	case *wire.Value_BoolSetVal:
		return each(val.BoolSetVal.GetVal(), same[bool])
	case *wire.Value_UuidSetVal:
		return each(val.UuidSetVal.GetVal(), same[string])
	case *wire.Value_TimeUuidSetVal:
		return each(val.TimeUuidSetVal.GetVal(), same[string])
	case *wire.Value_DecimalSetVal:
		return each(val.DecimalSetVal.GetVal(), same[string])
	}
	return nil
}

func same[T any](value T) any { return value }

func each[T any](values []T, convert func(T) any) []any {
	converted := make([]any, len(values))
	for index, value := range values {
		converted[index] = convert(value)
	}
	return converted
}

func moment(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

func moments(seconds []int64) []any {
	return each(seconds, func(each int64) any { return moment(each) })
}

func mapping(value *wire.Map) map[string]any {
	converted := make(map[string]any, len(value.GetVal()))
	for key, each := range value.GetVal() {
		converted[key] = read(each)
	}
	return converted
}

func mappings(value *wire.MapList) []any {
	return each(value.GetVal(), func(each *wire.Map) any { return mapping(each) })
}

func scalarMap(value *wire.ScalarMap) map[any]any {
	converted := make(map[any]any, len(value.GetVal()))
	for _, entry := range value.GetVal() {
		converted[scalarKey(entry.GetKey())] = read(entry.GetValue())
	}
	return converted
}

func scalarKey(key *wire.MapKey) any {
	switch key := key.GetKey().(type) {
	case *wire.MapKey_Int32Key:
		return key.Int32Key
	case *wire.MapKey_Int64Key:
		return key.Int64Key
	case *wire.MapKey_FloatKey:
		return key.FloatKey
	case *wire.MapKey_DoubleKey:
		return key.DoubleKey
	case *wire.MapKey_BoolKey:
		return key.BoolKey
	case *wire.MapKey_UnixTimestampKey:
		return moment(key.UnixTimestampKey)
	case *wire.MapKey_BytesKey:
		// Bytes cannot be keys of a Go map.
		return string(key.BytesKey)
	case *wire.MapKey_UuidKey:
		return key.UuidKey
	case *wire.MapKey_TimeUuidKey:
		return key.TimeUuidKey
	case *wire.MapKey_DecimalKey:
		return key.DecimalKey
	}
	return nil
}

// zoned returns a moment in its zone; in UTC where this machine does not know the zone.
func zoned(value *wire.ZonedTimestamp) time.Time {
	at, zone := moment(value.GetUnixTimestamp()), value.GetZone()
	if zone == "" {
		return at
	}
	if zone[0] == '+' || zone[0] == '-' {
		if parsed, err := time.Parse("-07:00", zone); err == nil {
			return at.In(parsed.Location())
		}
		return at
	}
	if location, err := time.LoadLocation(zone); err == nil {
		return at.In(location)
	}
	return at
}
