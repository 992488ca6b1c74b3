"""The process that holds: parent of every service, keeper of pipes and exit statuses."""
