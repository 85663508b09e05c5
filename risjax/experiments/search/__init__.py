"""The search: any setting by dotted path, judged by the metric that is reported, durable, by many workers."""
