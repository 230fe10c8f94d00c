"""Apache Iceberg tables in the Glue Data Catalog."""
