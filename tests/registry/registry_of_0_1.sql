BEGIN TRANSACTION;
CREATE TABLE feast_assets_feature_lists (
	project TEXT NOT NULL, 
	"view" TEXT NOT NULL, 
	list_hash TEXT NOT NULL, 
	fields TEXT NOT NULL, 
	newest_revision BIGINT NOT NULL, 
	PRIMARY KEY (project, "view", list_hash)
);
INSERT INTO "feast_assets_feature_lists" VALUES('shop','stats','e9db8901a56b6ed16dd5f1e212cc9ac898f17b8da0174d6de3686349cd3e70b8','[{"checks":null,"description":"","dtype":{"$type":"Int64"},"kind":"Field","name":"trips","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null}]',1);
CREATE TABLE feast_assets_inputs (
	project TEXT NOT NULL, 
	object_type TEXT NOT NULL, 
	name TEXT NOT NULL, 
	inputs TEXT NOT NULL, 
	PRIMARY KEY (project, object_type, name)
);
INSERT INTO "feast_assets_inputs" VALUES('shop','feature view','stats','["b4cb47b03806b7af0047deebe418da7a9859a20a81344203a10a8061d7da41f5","ac6370b8f60d5f9c751f0360bd46356c139a397173276a29a73ea58f4c9fa1bf","b0b116d7d0e13f0a7556881c45ae16bf5226c42ca8fc52ed90181b63ec8e0724","72b11646035087976b195955811385e189e49dd79fe337fd69c46861d2e37d7a",["26da3ed33a1475c5d1c295de2ce0bbdb803e61e63dc3c26593a63f16974fef14","025cb744a54bd42cc742670c0152150642c3e2f833ab4f34bff6a416fc856106","26da3ed33a1475c5d1c295de2ce0bbdb803e61e63dc3c26593a63f16974fef14"],"shop:stats:661443df54986"]');
CREATE TABLE feast_assets_ledger (
	project TEXT NOT NULL, 
	"view" TEXT NOT NULL, 
	window_start BIGINT NOT NULL, 
	window_end BIGINT NOT NULL, 
	fingerprint TEXT NOT NULL, 
	version BIGINT NOT NULL, 
	definition_hash TEXT NOT NULL, 
	rows BIGINT NOT NULL, 
	written BIGINT NOT NULL, 
	at BIGINT NOT NULL, 
	run_id TEXT NOT NULL, 
	claim TEXT NOT NULL, 
	PRIMARY KEY (project, "view", window_start, window_end)
);
INSERT INTO "feast_assets_ledger" VALUES('shop','stats',1704067200000000,1704153600000000,'5f7d3d5a1bb11378a3d7ce9e55681397',1795795586523448,'dd56156ea6685fea736e40357bb7053877b6762456e8d06f07db7cd2f86c30d1',1,1,1795795586609247,'','');
INSERT INTO "feast_assets_ledger" VALUES('shop','stats',1704153600000000,1704153600000001,'',0,'dd56156ea6685fea736e40357bb7053877b6762456e8d06f07db7cd2f86c30d1',0,0,1795795586523447,'','');
CREATE TABLE feast_assets_meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "feast_assets_meta" VALUES('schema_version','1');
CREATE TABLE feast_assets_objects (
	project TEXT NOT NULL, 
	object_type TEXT NOT NULL, 
	name TEXT NOT NULL, 
	valid_from BIGINT NOT NULL, 
	valid_to BIGINT, 
	content_hash TEXT NOT NULL, 
	spec TEXT NOT NULL, 
	created BIGINT NOT NULL, 
	updated BIGINT NOT NULL, 
	PRIMARY KEY (project, object_type, name, valid_from)
);
INSERT INTO "feast_assets_objects" VALUES('shop','project','shop',1,NULL,'44db370de553455614c93a9e42ff09bf5b0db43f8feaf4666e03b78efc096c78','{"description":"","kind":"Project","name":"shop","owner":"","tags":{"$map":{}}}',1795795586263788,1795795586263788);
INSERT INTO "feast_assets_objects" VALUES('shop','entity','driver',1,NULL,'5c6b6fe79a911bf1ec8369c22344d51ae38cb29b081115b4bfbc17785bd7f99f','{"description":"","join_key":"driver_id","kind":"Entity","name":"driver","owner":"","tags":{"$map":{}},"value_type":{"$enum":"ValueType.UNKNOWN"}}',1795795586263788,1795795586263788);
INSERT INTO "feast_assets_objects" VALUES('shop','data source','rides',1,NULL,'26da3ed33a1475c5d1c295de2ce0bbdb803e61e63dc3c26593a63f16974fef14','{"created_timestamp_column":"","date_partition_column":"","description":"","field_mapping":{"$map":{}},"file_format":null,"kind":"FileSource","name":"rides","owner":"","path":"rides","s3_endpoint_override":null,"tags":{"$map":{}},"timestamp_field":"ts"}',1795795586263788,1795795586263788);
INSERT INTO "feast_assets_objects" VALUES('shop','data source','live',1,NULL,'025cb744a54bd42cc742670c0152150642c3e2f833ab4f34bff6a416fc856106','{"batch_source":{"created_timestamp_column":"","date_partition_column":"","description":"","field_mapping":{"$map":{}},"file_format":null,"kind":"FileSource","name":"rides","owner":"","path":"rides","s3_endpoint_override":null,"tags":{"$map":{}},"timestamp_field":"ts"},"created_timestamp_column":"","date_partition_column":"","description":"","field_mapping":{"$map":{}},"kind":"PushSource","name":"live","owner":"","tags":{"$map":{}},"timestamp_field":"ts"}',1795795586263788,1795795586263788);
INSERT INTO "feast_assets_objects" VALUES('shop','feature view','stats',1,NULL,'b4cb47b03806b7af0047deebe418da7a9859a20a81344203a10a8061d7da41f5','{"automation":null,"batch_source":{"created_timestamp_column":"","date_partition_column":"","description":"","field_mapping":{"$map":{}},"file_format":null,"kind":"FileSource","name":"rides","owner":"","path":"rides","s3_endpoint_override":null,"tags":{"$map":{}},"timestamp_field":"ts"},"description":"","enable_validation":false,"enabled":true,"entities":["driver"],"entity_columns":[{"checks":null,"description":"","dtype":{"$type":"Int64"},"kind":"Field","name":"driver_id","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null}],"features":[{"checks":null,"description":"","dtype":{"$type":"Int64"},"kind":"Field","name":"trips","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null}],"join_keys":["driver_id"],"kind":"FeatureView","name":"stats","offline":false,"online":true,"online_generation":"661443df54986","org":"","owner":"","partitions":{"end":null,"grain":"daily","kind":"Partitions","start":{"$time_us":1704067200000000}},"stream_source":{"batch_source":{"created_timestamp_column":"","date_partition_column":"","description":"","field_mapping":{"$map":{}},"file_format":null,"kind":"FileSource","name":"rides","owner":"","path":"rides","s3_endpoint_override":null,"tags":{"$map":{}},"timestamp_field":"ts"},"created_timestamp_column":"","date_partition_column":"","description":"","field_mapping":{"$map":{}},"kind":"PushSource","name":"live","owner":"","tags":{"$map":{}},"timestamp_field":"ts"},"tags":{"$map":{}},"ttl":{"$duration_us":0}}',1795795586263788,1795795586263788);
CREATE TABLE feast_assets_projects (
	project TEXT NOT NULL, 
	revision BIGINT NOT NULL, 
	PRIMARY KEY (project)
);
INSERT INTO "feast_assets_projects" VALUES('shop',1);
CREATE TABLE feast_assets_revisions (
	project TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	at BIGINT NOT NULL, 
	"by" TEXT NOT NULL, 
	summary TEXT NOT NULL, 
	PRIMARY KEY (project, number)
);
INSERT INTO "feast_assets_revisions" VALUES('shop',1,1795795586263788,'someone','created data source live; created data source rides; created entity driver; created feature view stats; created project shop');
CREATE INDEX feast_assets_objects_valid ON feast_assets_objects (project, valid_to);
COMMIT;
