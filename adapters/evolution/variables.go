package evolution

// Variables are patterns of environment variables of Evolution API and Evolution Go that mean nothing here. Files that
// set them are taken as they are, without a warning.
func Variables() []string {
	return []string{
		"SERVER_NAME", "SERVER_DISABLE_DOCS", "SERVER_DISABLE_MANAGER", "LOG_BAILEYS", "LOG_TYPE", "LOG_DIRECTORY", "LOG_MAX_*", "LOG_COMPRESS",
		"AUTHENTICATION_TYPE", "AUTHENTICATION_JWT_*", "AUTHENTICATION_INSTANCE_*", "AUTHENTICATION_GLOBAL_AUTH_TOKEN",
		"KAFKA_CONSUMER_GROUP_ID", "DATABASE_*", "CACHE_*", "S3_*", "MINIO_*", "STORE_*", "CLEAN_STORE_*", "CONFIG_SESSION_*", "QRCODE_*", "CHATWOOT_*", "TYPEBOT_*",
		"OPENAI_*", "DIFY_*", "N8N_*", "EVOAI_*", "FLOWISE_*", "WA_BUSINESS_*", "PROXY_*", "PROVIDER_*", "LANGUAGE", "DEL_INSTANCE",
		"DEL_TEMP_INSTANCES", "EVENT_EMITTER_MAX_LISTENERS", "TELEMETRY_*", "PROMETHEUS_*", "METRICS_*", "SENTRY_DSN", "AUDIO_CONVERTER*",
		"SSL_CERT_*", "CLIENT_NAME", "OS_NAME", "WADEBUG", "EVENT_IGNORE_*", "CONNECT_ON_STARTUP",
	}
}
