BEGIN TRANSACTION;
CREATE TABLE feast_assets_feature_lists (
	project TEXT NOT NULL, 
	"view" TEXT NOT NULL, 
	list_hash TEXT NOT NULL, 
	fields TEXT NOT NULL, 
	newest_revision BIGINT NOT NULL, 
	PRIMARY KEY (project, "view", list_hash)
);
INSERT INTO "feast_assets_feature_lists" VALUES('shop','daily','70d96ef267a65c488520e90a1533c7ee3c8e79dbf096a66f1a8fc40bb5849b8f','[{"checks":null,"description":"","dtype":{"$type":"Float64"},"kind":"Field","name":"total","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null}]',1);
INSERT INTO "feast_assets_feature_lists" VALUES('shop','rating','dd069aa229eed42f05e34ffefc2a9f22189c8f9e5f266b774cc08c451791a538','[{"checks":null,"description":"","dtype":{"$type":"Int64"},"kind":"Field","name":"stars","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null}]',1);
INSERT INTO "feast_assets_feature_lists" VALUES('shop','trips','892ed00e332a70ebc1aaa0b6ec34aaeed95eea85fb084e726a7b535e4626326a','[{"checks":null,"description":"","dtype":{"$type":"Float64"},"kind":"Field","name":"fare","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null},{"checks":null,"description":"","dtype":{"$type":"Int64"},"kind":"Field","name":"count","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null},{"checks":null,"description":"","dtype":{"$type":"String"},"kind":"Field","name":"city","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null},{"checks":null,"description":"","dtype":{"$type":"Bool"},"kind":"Field","name":"paid","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null},{"checks":null,"description":"","dtype":{"$type":"Array(String)"},"kind":"Field","name":"tags","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null},{"checks":null,"description":"","dtype":{"$type":"UnixTimestamp"},"kind":"Field","name":"seen","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null}]',1);
CREATE TABLE feast_assets_inputs (
	project TEXT NOT NULL, 
	object_type TEXT NOT NULL, 
	name TEXT NOT NULL, 
	inputs TEXT NOT NULL, 
	PRIMARY KEY (project, object_type, name)
);
INSERT INTO "feast_assets_inputs" VALUES('shop','feature view','trips','["f0e708c26a7968917b9806fcdccf3a06e7cd1988d5c3a80f8efd0734204cd78e","240df9671d55b0c662b7569d0be2204c7c5fce6a2d05b187c0e8949d970ca09c","7b6ce3d44b6015768daa0d02bf1b9556966a9c487558b531a62653b41eb310ce","eb16c6b74085de956e80c61b4ae047a4e370ba060e9387496ec44e06bbdabb95",["4d8b7ae151cadddc0c0850b9dd023e2e03b947e2f9bbdc2e7e40961c10cc496e"],"shop:trips:6614693dcb95f"]');
INSERT INTO "feast_assets_inputs" VALUES('shop','feature view','rating','["4f43b8a2722aecb7574e25c6c7f47e14727734b869b055fb268883c18a086b98","6d17e2809b7eba138f89afe7c6cfde73b54c14368098acfb074be2f3c035aff7","28c86f07a8f1a4a1bafcad8cad4e637da7ed391ca9e6a92238be31b1ebb3fa25","2ea1973fae7c8b764bccd978a8fed3512162183b026e7b677141bf5726119ace",["973f53fad77eb5922126a0eb0b98b405197752edf23c9124c8309e0b088e4347","8ec38b7f9bab0c88dddd6409f15ed8eba6a5aa3996ce3d26d48d30d0d0d97f77","973f53fad77eb5922126a0eb0b98b405197752edf23c9124c8309e0b088e4347"],"shop:rating:6614693dcb95f"]');
INSERT INTO "feast_assets_inputs" VALUES('shop','feature view','daily','["f984d49c44e6b7ba22167f0516351ac57541edacc6a01151b74296c8f0600ede","aa3eefe3571d9c8cc133f151c96b423a1abfaca97f65f70e67207e77344c9998","6146ee2bbd1d284c7b098f02c27386f5716fbdd0723a5123bdd416949a0d6977","2ff8410d24c0ed23a9ee65b8e121853994ef8c9ceed9c4f782b6af0d3717cd03",["7ab07231c36059984b12172583efeaf07e0cbb58b8eb6ae591fddeaca4fc55be","4d8b7ae151cadddc0c0850b9dd023e2e03b947e2f9bbdc2e7e40961c10cc496e","7ab07231c36059984b12172583efeaf07e0cbb58b8eb6ae591fddeaca4fc55be"],"shop:daily:6614693dcb95f"]');
INSERT INTO "feast_assets_inputs" VALUES('shop','feature service','model','["98af4e11c53bebc5914b143f11936d6b347b3960f22563f64e13855d31cd00b4","2985682339ed33a6eb3be31140c803aadcf7afe389760e36bd78ff48c281d688","","",[],""]');
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
INSERT INTO "feast_assets_ledger" VALUES('shop','daily',1704067200000000,1704153600000000,'90e08c231a8de7fdb78038d100fc3fef',1795805616878590,'09cba6305b379cd75cc29af78d1caf1f10b368c85a94172b2187e2a26fdaf600',3,1,1795805617006914,'','');
INSERT INTO "feast_assets_ledger" VALUES('shop','daily',1704153600000000,1704240000000000,'436fb5d65d6266388aa2e0a11ccef349',1795805616878590,'09cba6305b379cd75cc29af78d1caf1f10b368c85a94172b2187e2a26fdaf600',3,3,1795805617006930,'','');
INSERT INTO "feast_assets_ledger" VALUES('shop','daily',1704240000000000,1704326400000000,'',0,'09cba6305b379cd75cc29af78d1caf1f10b368c85a94172b2187e2a26fdaf600',0,0,1795805616878590,'','');
INSERT INTO "feast_assets_ledger" VALUES('shop','daily',1704412800000000,1704499200000001,'',0,'09cba6305b379cd75cc29af78d1caf1f10b368c85a94172b2187e2a26fdaf600',0,0,1795805616878590,'','');
INSERT INTO "feast_assets_ledger" VALUES('shop','daily',1704326400000000,1704412800000000,'fe93a300e3667c64df18dd11c2ad4a33',1795805617013258,'09cba6305b379cd75cc29af78d1caf1f10b368c85a94172b2187e2a26fdaf600',2,2,1795805617051948,'','');
INSERT INTO "feast_assets_ledger" VALUES('shop','rating',1704067200000000,1704153600000000,'71ad0c029cc13b47f12de3c779388c3e',1795805617096632,'a1e06536e9a94a54a124de22c1bdc8aeeaf5c58b7be95abe6b6661e4d1d6d33c',1,1,1795805617107962,'','');
INSERT INTO "feast_assets_ledger" VALUES('shop','rating',1704153600000000,1704240000000000,'b61db9c06affa32ecc0be00f6d3155e0',1795805617096632,'a1e06536e9a94a54a124de22c1bdc8aeeaf5c58b7be95abe6b6661e4d1d6d33c',1,1,1795805617107974,'','');
INSERT INTO "feast_assets_ledger" VALUES('shop','rating',1704240000000000,1704499200000001,'',0,'a1e06536e9a94a54a124de22c1bdc8aeeaf5c58b7be95abe6b6661e4d1d6d33c',0,0,1795805617096632,'','');
INSERT INTO "feast_assets_ledger" VALUES('shop','trips',1704067200000000,1704153600000000,'d38592aa8b304fde292ed1528e44c233',1795805617129646,'cf28afd301855be9a41983d9f956d9edd43ee6d52ba8f69f53f343455150bb5d',3,0,1795805617151629,'','');
INSERT INTO "feast_assets_ledger" VALUES('shop','trips',1704153600000000,1704240000000000,'6ecc9443644b9bdbc38b1355b42f558b',1795805617129646,'cf28afd301855be9a41983d9f956d9edd43ee6d52ba8f69f53f343455150bb5d',4,3,1795805617151641,'','');
INSERT INTO "feast_assets_ledger" VALUES('shop','trips',1704326400000000,1704412800000000,'1f746410cea47aa1527b03443b31b23c',1795805617129646,'cf28afd301855be9a41983d9f956d9edd43ee6d52ba8f69f53f343455150bb5d',2,2,1795805617151643,'','');
INSERT INTO "feast_assets_ledger" VALUES('shop','trips',1704240000000000,1704326400000000,'',0,'cf28afd301855be9a41983d9f956d9edd43ee6d52ba8f69f53f343455150bb5d',0,0,1795805617129646,'','');
INSERT INTO "feast_assets_ledger" VALUES('shop','trips',1704412800000000,1704499200000001,'',0,'cf28afd301855be9a41983d9f956d9edd43ee6d52ba8f69f53f343455150bb5d',0,0,1795805617129646,'','');
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
INSERT INTO "feast_assets_objects" VALUES('shop','project','shop',1,NULL,'44db370de553455614c93a9e42ff09bf5b0db43f8feaf4666e03b78efc096c78','{"description":"","kind":"Project","name":"shop","owner":"","tags":{"$map":{}}}',1795805616798732,1795805616798732);
INSERT INTO "feast_assets_objects" VALUES('shop','entity','driver',1,NULL,'5c6b6fe79a911bf1ec8369c22344d51ae38cb29b081115b4bfbc17785bd7f99f','{"description":"","join_key":"driver_id","kind":"Entity","name":"driver","owner":"","tags":{"$map":{}},"value_type":{"$enum":"ValueType.UNKNOWN"}}',1795805616798732,1795805616798732);
INSERT INTO "feast_assets_objects" VALUES('shop','data source','rows',1,NULL,'4d8b7ae151cadddc0c0850b9dd023e2e03b947e2f9bbdc2e7e40961c10cc496e','{"created_timestamp_column":"created","date_partition_column":"","description":"","field_mapping":{"$map":{}},"file_format":null,"kind":"FileSource","name":"rows","owner":"","path":"data/trips.parquet","s3_endpoint_override":null,"tags":{"$map":{}},"timestamp_field":"at"}',1795805616798732,1795805616798732);
INSERT INTO "feast_assets_objects" VALUES('shop','data source','daily_rows',1,NULL,'7ab07231c36059984b12172583efeaf07e0cbb58b8eb6ae591fddeaca4fc55be','{"created_timestamp_column":"","date_partition_column":"","description":"","field_mapping":{"$map":{}},"file_format":null,"kind":"FileSource","name":"daily_rows","owner":"","path":"data/daily","s3_endpoint_override":null,"tags":{"$map":{}},"timestamp_field":"day"}',1795805616798732,1795805616798732);
INSERT INTO "feast_assets_objects" VALUES('shop','data source','pushed',1,NULL,'973f53fad77eb5922126a0eb0b98b405197752edf23c9124c8309e0b088e4347','{"created_timestamp_column":"","date_partition_column":"","description":"","field_mapping":{"$map":{}},"file_format":null,"kind":"FileSource","name":"pushed","owner":"","path":"data/pushed.parquet","s3_endpoint_override":null,"tags":{"$map":{}},"timestamp_field":"at"}',1795805616798732,1795805616798732);
INSERT INTO "feast_assets_objects" VALUES('shop','data source','live',1,NULL,'8ec38b7f9bab0c88dddd6409f15ed8eba6a5aa3996ce3d26d48d30d0d0d97f77','{"batch_source":{"created_timestamp_column":"","date_partition_column":"","description":"","field_mapping":{"$map":{}},"file_format":null,"kind":"FileSource","name":"pushed","owner":"","path":"data/pushed.parquet","s3_endpoint_override":null,"tags":{"$map":{}},"timestamp_field":"at"},"created_timestamp_column":"","date_partition_column":"","description":"","field_mapping":{"$map":{}},"kind":"PushSource","name":"live","owner":"","tags":{"$map":{}},"timestamp_field":"at"}',1795805616798732,1795805616798732);
INSERT INTO "feast_assets_objects" VALUES('shop','feature view','daily',1,NULL,'f984d49c44e6b7ba22167f0516351ac57541edacc6a01151b74296c8f0600ede','{"automation":null,"batch_source":{"created_timestamp_column":"","date_partition_column":"","description":"","field_mapping":{"$map":{}},"file_format":null,"kind":"FileSource","name":"daily_rows","owner":"","path":"data/daily","s3_endpoint_override":null,"tags":{"$map":{}},"timestamp_field":"day"},"description":"","enable_validation":false,"enabled":true,"entities":["driver"],"entity_columns":[{"checks":null,"description":"","dtype":{"$type":"Int64"},"kind":"Field","name":"driver_id","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null}],"feature_transformation":{"description":"","import_path":"repository:total_of","kind":"Transformation","mode":{"$enum":"TransformationMode.SQL"},"name":"daily","owner":"","tags":{"$map":{}},"udf_string":"def total_of(rows: str) -> str:\n    query = \"SELECT driver_id, max(t.at) AS day, sum(fare) AS total FROM {} t GROUP BY driver_id, date_trunc(''day'', t.at)\"\n    return query.format(rows)\n"},"features":[{"checks":null,"description":"","dtype":{"$type":"Float64"},"kind":"Field","name":"total","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null}],"join_keys":["driver_id"],"kind":"BatchFeatureView","lookback":{"$duration_us":0},"name":"daily","offline":true,"online":true,"online_generation":"6614693dcb95f","org":"","owner":"","partitions":{"end":null,"grain":"daily","kind":"Partitions","start":{"$time_us":1704067200000000}},"sink_source":{"created_timestamp_column":"","date_partition_column":"","description":"","field_mapping":{"$map":{}},"file_format":null,"kind":"FileSource","name":"daily_rows","owner":"","path":"data/daily","s3_endpoint_override":null,"tags":{"$map":{}},"timestamp_field":"day"},"sources":[{"created_timestamp_column":"created","date_partition_column":"","description":"","field_mapping":{"$map":{}},"file_format":null,"kind":"FileSource","name":"rows","owner":"","path":"data/trips.parquet","s3_endpoint_override":null,"tags":{"$map":{}},"timestamp_field":"at"}],"stream_source":null,"tags":{"$map":{}},"ttl":null}',1795805616798732,1795805616798732);
INSERT INTO "feast_assets_objects" VALUES('shop','feature view','rating',1,NULL,'4f43b8a2722aecb7574e25c6c7f47e14727734b869b055fb268883c18a086b98','{"automation":null,"batch_source":{"created_timestamp_column":"","date_partition_column":"","description":"","field_mapping":{"$map":{}},"file_format":null,"kind":"FileSource","name":"pushed","owner":"","path":"data/pushed.parquet","s3_endpoint_override":null,"tags":{"$map":{}},"timestamp_field":"at"},"description":"","enable_validation":false,"enabled":true,"entities":["driver"],"entity_columns":[{"checks":null,"description":"","dtype":{"$type":"Int64"},"kind":"Field","name":"driver_id","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null}],"features":[{"checks":null,"description":"","dtype":{"$type":"Int64"},"kind":"Field","name":"stars","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null}],"join_keys":["driver_id"],"kind":"FeatureView","name":"rating","offline":false,"online":true,"online_generation":"6614693dcb95f","org":"","owner":"","partitions":{"end":null,"grain":"daily","kind":"Partitions","start":{"$time_us":1704067200000000}},"stream_source":{"batch_source":{"created_timestamp_column":"","date_partition_column":"","description":"","field_mapping":{"$map":{}},"file_format":null,"kind":"FileSource","name":"pushed","owner":"","path":"data/pushed.parquet","s3_endpoint_override":null,"tags":{"$map":{}},"timestamp_field":"at"},"created_timestamp_column":"","date_partition_column":"","description":"","field_mapping":{"$map":{}},"kind":"PushSource","name":"live","owner":"","tags":{"$map":{}},"timestamp_field":"at"},"tags":{"$map":{}},"ttl":{"$duration_us":0}}',1795805616798732,1795805616798732);
INSERT INTO "feast_assets_objects" VALUES('shop','feature view','trips',1,NULL,'f0e708c26a7968917b9806fcdccf3a06e7cd1988d5c3a80f8efd0734204cd78e','{"automation":null,"batch_source":{"created_timestamp_column":"created","date_partition_column":"","description":"","field_mapping":{"$map":{}},"file_format":null,"kind":"FileSource","name":"rows","owner":"","path":"data/trips.parquet","s3_endpoint_override":null,"tags":{"$map":{}},"timestamp_field":"at"},"description":"","enable_validation":false,"enabled":true,"entities":["driver"],"entity_columns":[{"checks":null,"description":"","dtype":{"$type":"Int64"},"kind":"Field","name":"driver_id","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null}],"features":[{"checks":null,"description":"","dtype":{"$type":"Float64"},"kind":"Field","name":"fare","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null},{"checks":null,"description":"","dtype":{"$type":"Int64"},"kind":"Field","name":"count","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null},{"checks":null,"description":"","dtype":{"$type":"String"},"kind":"Field","name":"city","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null},{"checks":null,"description":"","dtype":{"$type":"Bool"},"kind":"Field","name":"paid","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null},{"checks":null,"description":"","dtype":{"$type":"Array(String)"},"kind":"Field","name":"tags","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null},{"checks":null,"description":"","dtype":{"$type":"UnixTimestamp"},"kind":"Field","name":"seen","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null}],"join_keys":["driver_id"],"kind":"FeatureView","name":"trips","offline":false,"online":true,"online_generation":"6614693dcb95f","org":"","owner":"","partitions":{"end":null,"grain":"daily","kind":"Partitions","start":{"$time_us":1704067200000000}},"stream_source":null,"tags":{"$map":{}},"ttl":{"$duration_us":3153600000000000}}',1795805616798732,1795805616798732);
INSERT INTO "feast_assets_objects" VALUES('shop','feature service','model',1,NULL,'98af4e11c53bebc5914b143f11936d6b347b3960f22563f64e13855d31cd00b4','{"description":"","feature_view_projections":[{"desired_features":[],"features":[{"checks":null,"description":"","dtype":{"$type":"Float64"},"kind":"Field","name":"fare","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null},{"checks":null,"description":"","dtype":{"$type":"String"},"kind":"Field","name":"city","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null}],"join_key_map":{"$map":{}},"kind":"FeatureViewProjection","name":"trips","name_alias":null},{"desired_features":[],"features":[{"checks":null,"description":"","dtype":{"$type":"Float64"},"kind":"Field","name":"total","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null}],"join_key_map":{"$map":{}},"kind":"FeatureViewProjection","name":"daily","name_alias":null},{"desired_features":[],"features":[{"checks":null,"description":"","dtype":{"$type":"Int64"},"kind":"Field","name":"stars","tags":{"$map":{}},"vector_index":false,"vector_length":0,"vector_search_metric":null}],"join_key_map":{"$map":{}},"kind":"FeatureViewProjection","name":"rating","name_alias":null}],"kind":"FeatureService","logging_config":null,"name":"model","owner":"","tags":{"$map":{}}}',1795805616798732,1795805616798732);
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
INSERT INTO "feast_assets_revisions" VALUES('shop',1,1795805616798732,'root','created data source daily_rows; created data source live; created data source pushed; created data source rows; created entity driver; created feature service model; created feature view daily; created feature view rating; created feature view trips; created project shop');
CREATE INDEX feast_assets_objects_valid ON feast_assets_objects (project, valid_to);
COMMIT;
